/** What a test started and must end: run last first, all of it even when one step fails. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = [];

  /** Adds a step and returns `value`, so that a thing is made and its end planned in one expression. */
  defer<T>(value: T, step: (value: T) => unknown): T {
    this.#steps.push(() => step(value));
    return value;
  }

  /** Runs and forgets the steps. Throws what the first failing step threw. */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
