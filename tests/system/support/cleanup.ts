/** The clean-up steps of a test. They run in reverse order, and all of them run even when one fails. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = [];

  /** Adds a step and returns `value`, so that a resource and its clean-up are written in one expression. */
  defer<T>(value: T, step: (value: T) => unknown): T {
    this.#steps.push(() => step(value));
    return value;
  }

  /** Runs all steps and removes them. Throws the error of the first step that failed. */
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
