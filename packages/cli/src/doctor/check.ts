import { CulvertError } from '@culvert/protocol';

/** The result of a check: `skipped` when an earlier failure made it impossible. */
export type CheckStatus = 'ok' | 'warning' | 'failed' | 'skipped';

/** A check that `culvert doctor` made. */
export interface Check {
  /** A word or two, such as `TLS`; the same in every run. */
  readonly name: string;
  readonly status: CheckStatus;
  /** What was seen, in a sentence or less. */
  readonly found: string;
  /** What to do about it, where something is to be done. */
  readonly advice?: string;
  /** What was measured: milliseconds, bytes, dates, by name. */
  readonly data?: Readonly<Record<string, number | string>>;
  /** Of a failed check: the exit code that its error has everywhere else. */
  readonly exit?: number;
}

/** What a look gives; what it throws makes the check a failed one. */
export type Found = Pick<Check, 'found' | 'advice' | 'data'> & { readonly warning?: boolean };

/** Makes checks one after the other; once one has failed that others stand on, those are skipped. */
export class Examination {
  readonly #tell: (check: Check) => void | Promise<void>;
  readonly #checks: Check[] = [];

  /** @param tell shown each check as soon as it is done: some take seconds */
  constructor(tell: (check: Check) => void | Promise<void>) {
    this.#tell = tell;
  }

  get checks(): readonly Check[] {
    return this.#checks;
  }

  /** The exit code of the first that failed; 0 when none did. */
  get exitCode(): number {
    return this.#checks.find(({ status }) => status === 'failed')?.exit ?? 0;
  }

  /**
   * Looks, unless one of the checks named in `needs` did not come out well. False when there is nothing for later checks to stand on.
   * @param advise what to do about an error, where its own sentence does not say it
   */
  async look(
    name: string,
    needs: readonly string[],
    look: () => Promise<Found>,
    advise: (error: CulvertError) => string | undefined = () => undefined,
  ): Promise<void> {
    const missing = needs.find((need) => !this.#went(need));
    if (missing !== undefined) return this.#add({ name, status: 'skipped', found: `needs ${missing}` });
    try {
      const { warning = false, ...found } = await look();
      await this.#add({ name, status: warning ? 'warning' : 'ok', ...found });
    } catch (reason) {
      const error = CulvertError.from(reason);
      const advice = advise(error);
      const { exit } = error.row;
      await this.#add({
        name,
        status: 'failed',
        found: error.message,
        exit,
        ...(advice === undefined ? {} : { advice }),
      });
    }
  }

  #went(name: string): boolean {
    const check = this.#checks.find((done) => done.name === name);
    return check?.status === 'ok' || check?.status === 'warning';
  }

  async #add(check: Check): Promise<void> {
    this.#checks.push(check);
    await this.#tell(check);
  }
}
