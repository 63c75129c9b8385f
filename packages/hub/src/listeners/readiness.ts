import { CulvertError } from '@culvert/protocol';
import { type Clock, deadline } from '@culvert/stream';
import type { Store } from '../registry/open-store.ts';
import type { NotReady } from './admin-listener.ts';

/** Milliseconds the registry may take for a trivial call: probes give up after a second or a few. */
const ANSWER_MS = 2_000;

/**
 * Whether the hub takes new streams. A registry that does not answer makes it not ready; failing logs and audit do not: streams
 * continue without them, and metrics and events report the failure.
 */
export class Readiness {
  readonly #clock: Clock;
  #state: 'starting' | 'up' | 'draining' = 'starting';
  #store: Pick<Store, 'policies'> | undefined;
  /** Concurrent probes share one check. */
  #asking: Promise<boolean> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The state known without asking the registry. */
  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** The hub is up. */
  up(store: Pick<Store, 'policies'>): void {
    this.#store = store;
    this.#state = 'up';
  }

  /** The hub is stopping; this is final. */
  drain(): void {
    this.#state = 'draining';
  }

  /** Why the hub is not ready; undefined when it is ready. Never rejects. */
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
