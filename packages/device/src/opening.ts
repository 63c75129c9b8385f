/** The promise that `open()` returns, and functions to settle it. */
export class Opening {
  readonly promise: Promise<void>;
  #settled = false;
  // Promise executors run synchronously, so both functions are assigned before they can be called.
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether the promise has been resolved or rejected. */
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
