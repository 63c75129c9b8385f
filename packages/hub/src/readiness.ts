import { CulvertError } from '@culvert/protocol';
import { type Clock, deadline } from '@culvert/stream';
import type { NotReady } from './api/admin-listener.ts';
import type { Store } from './registry/open-store.ts';

/** Milliseconds the registry may take for the smallest question: probes give up after a second or a few. */
const ANSWER_MS = 2_000;

/**
 * Whether the hub takes new streams. A registry that is asked and does not answer makes it not ready; logs and audit do not: streams
 * go on without them, and their metrics and events say so.
 */
export class Readiness {
  readonly #clock: Clock;
  #state: 'starting' | 'up' | 'draining' = 'starting';
  #store: Pick<Store, 'policies'> | undefined;
  /** Probes that come while one is answered share the answer. */
  #asking: Promise<boolean> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** As far as it is known without asking anybody. */
  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** The hub is up. */
  up(store: Pick<Store, 'policies'>): void {
    this.#store = store;
    this.#state = 'up';
  }

  /** It is on its way out; there is no way back. */
  drain(): void {
    this.#state = 'draining';
  }

  /** Undefined: it is ready. Never rejects. */
  readonly check = async (): Promise<NotReady | undefined> => {
    if (this.#state !== 'up') return this.#state;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    const answers = await this.#asking;
    if (this.#state !== 'up') return this.#state;
    return answers ? undefined : 'registry';
  };

  async #ask(): Promise<boolean> {
    const limit = deadline(this.#clock, ANSWER_MS, () => new CulvertError('internal'));
    const silence = new Promise<false>((resolve) => limit.signal.addEventListener('abort', () => resolve(false)));
    const answer = this.#store?.policies.get('service').then(
      () => true,
      () => false,
    );
    try {
      return (await Promise.race([answer, silence])) === true;
    } finally {
      limit.cancel();
    }
  }
}
