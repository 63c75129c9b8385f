import { CulvertError } from '@culvert/protocol';

/** The result of a check: `skipped` when an earlier failure made it impossible. */
export type CheckStatus = 'ok' | 'warning' | 'failed' | 'skipped';

/** A check made by `culvert doctor`. */
export interface Check {
  /** The check's name: one or two words, such as `TLS`; the same in every run. */
  readonly name: string;
  readonly status: CheckStatus;
  /** The finding, in a sentence or less. */
  readonly found: string;
  /** What the user should do, if anything. */
  readonly advice?: string;
  /** The measured values by name: milliseconds, bytes, dates. */
  readonly data?: Readonly<Record<string, number | string>>;
  /** For a failed check: the exit code that its error also has in other commands. */
  readonly exit?: number;
}

/** The result that a check function returns. If the function throws, the check has failed. */
export type Found = Pick<Check, 'found' | 'advice' | 'data'> & { readonly warning?: boolean };

/** Makes checks one after the other. When a check has failed, the checks that need it are skipped. */
export class Examination {
  readonly #onCheck: (check: Check) => void | Promise<void>;
  readonly #checks: Check[] = [];

  /** @param onCheck called with each check as soon as it is done, since some take seconds */
  constructor(onCheck: (check: Check) => void | Promise<void>) {
    this.#onCheck = onCheck;
  }

  get checks(): readonly Check[] {
    return this.#checks;
  }

  /** The exit code of the first failed check; 0 when none failed. */
  get exitCode(): number {
    return this.#checks.find(({ status }) => status === 'failed')?.exit ?? 0;
  }

  /**
   * Makes a check, or records it as skipped if one of the checks in `needs` failed or was skipped.
   * @param advise returns advice for an error whose own message does not hold any
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
    await this.#onCheck(check);
  }
}
