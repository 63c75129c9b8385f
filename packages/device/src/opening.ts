/** The promise that `open()` gives out, settled from where it becomes known. */
export class Opening {
  readonly promise: Promise<void>;
  #settled = false;
  // A promise's executor runs at once, so both are set before they can be called.
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether the outcome is known. */
  get settled(): boolean {
    return this.#settled;
  }

  resolve(): void {
    this.#settled = true;
    this.#resolve();
  }

  reject(error: Error): void {
    this.#settled = true;
    this.#reject(error);
  }
}
