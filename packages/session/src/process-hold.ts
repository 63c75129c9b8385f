/** The longest delay in milliseconds that a Node timer supports. */
const LONGEST_MS = 2 ** 31 - 1;

/** Keeps the process alive while it is held. A lost link has no socket that would do so, although its connections still wait for the next one. */
export class ProcessHold {
  #timer: NodeJS.Timeout | undefined;

  /** Holds the process, or lets it go. */
  set isHeld(isHeld: boolean) {
    if (isHeld) this.#timer ??= setInterval(() => undefined, LONGEST_MS);
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}
