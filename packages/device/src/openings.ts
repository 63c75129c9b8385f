/** Connections whose targets are being connected at once. */
const MAX_RUNNING = 64;
/** The same for one service, so that a target that never answers does not stop all others. */
const MAX_RUNNING_OF_SERVICE = 16;
/** Connections that wait for their turn; further ones are refused. */
const MAX_WAITING = 1_000;
/** Milliseconds that a connection may wait for its turn. */
const MAX_WAIT_MS = 10_000;

interface Waiting {
  readonly service: string;
  readonly start: () => void;
  readonly refuse: () => void;
  readonly since: number;
}

/** Limits how many connections are opened at once; the others wait in order. */
export class Openings {
  readonly #now: () => number;
  readonly #setTimer: (ms: number, callback: () => void) => { cancel(): void };
  readonly #running = new Map<string, number>();
  #total = 0;
  #waiting: Waiting[] = [];
  #timer: { cancel(): void } | undefined;

  constructor(clock: { now(): number; setTimer(ms: number, callback: () => void): { cancel(): void } }) {
    this.#now = () => clock.now();
    this.#setTimer = (ms, callback) => clock.setTimer(ms, callback);
  }

  /**
   * Starts an opening now or later. `start` takes a slot, which `done` frees.
   * @param refuse called instead, if too many wait or it has waited too long
   */
  run(service: string, start: (done: () => void) => void, refuse: () => void): void {
    const waiting: Waiting = { service, since: this.#now(), refuse, start: () => start(this.#take(service)) };
    // Whatever waits is of a service that may not run now: those of others need not stand behind it.
    if (this.#mayRun(service)) waiting.start();
    else if (this.#waiting.length >= MAX_WAITING) refuse();
    else {
      this.#waiting.push(waiting);
      this.#next();
    }
  }

  #mayRun(service: string): boolean {
    return this.#total < MAX_RUNNING && (this.#running.get(service) ?? 0) < MAX_RUNNING_OF_SERVICE;
  }

  #take(service: string): () => void {
    this.#total++;
    this.#running.set(service, (this.#running.get(service) ?? 0) + 1);
    let isFree = false;
    return () => {
      if (isFree) return;
      isFree = true;
      this.#total--;
      const left = (this.#running.get(service) ?? 1) - 1;
      if (left === 0) this.#running.delete(service);
      else this.#running.set(service, left);
      this.#next();
    };
  }

  /** Starts what may run. Openings of a busy service do not hold up those behind them. */
  #next(): void {
    const now = this.#now();
    const kept: Waiting[] = [];
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const opening of waiting) {
      if (now - opening.since >= MAX_WAIT_MS) opening.refuse();
      else if (this.#mayRun(opening.service)) opening.start();
      else kept.push(opening);
    }
    // What was added meanwhile stands behind.
    this.#waiting = [...kept, ...this.#waiting];
    this.#timer?.cancel();
    this.#timer = undefined;
    const [oldest] = this.#waiting;
    if (oldest !== undefined) this.#timer = this.#setTimer(oldest.since + MAX_WAIT_MS - now, () => this.#next());
  }
}
