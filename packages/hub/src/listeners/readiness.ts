import { CulvertError } from '@culvert/protocol';
import { type Clock, deadline } from '@culvert/stream';
import type { Store } from '../registry/open-store.ts';
import type { NotReady } from './admin-listener.ts';

/** Milliseconds the registry may take for a trivial call: probes time out after one or a few seconds. */
const ANSWER_MS = 2_000;

/**
 * Whether the hub accepts new streams. The hub is not ready when its registry does not answer. A failure of the logs or of the audit does not make it
 * not ready: streams continue without them, and metrics and events report the failure.
 */
export class Readiness {
  readonly #clock: Clock;
  #state: 'starting' | 'up' | 'draining' = 'starting';
  #store: Pick<Store, 'policies'> | undefined;
  /** Concurrent probes share one check. */
  #registryCheck: Promise<boolean> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the hub is up, without a call to the registry. */
  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** Marks the hub as up. */
  up(store: Pick<Store, 'policies'>): void {
    this.#store = store;
    this.#state = 'up';
  }

  /** Marks the hub as stopping; this is final. */
  drain(): void {
    this.#state = 'draining';
  }

  /** Why the hub is not ready; undefined when it is ready. Never rejects. */
  readonly check = async (): Promise<NotReady | undefined> => {
    if (this.#state !== 'up') return this.#state;
    this.#registryCheck ??= this.#checkRegistry().finally(() => {
      this.#registryCheck = undefined;
    });
    const answers = await this.#registryCheck;
    if (this.#state !== 'up') return this.#state;
    return answers ? undefined : 'registry';
  };

  async #checkRegistry(): Promise<boolean> {
    const limit = deadline(this.#clock, ANSWER_MS, () => new CulvertError('internal'));
    const timeout = new Promise<false>((resolve) => limit.signal.addEventListener('abort', () => resolve(false)));
    const answer = this.#store?.policies.get('service').then(
      () => true,
      () => false,
    );
    try {
      return (await Promise.race([answer, timeout])) === true;
    } finally {
      limit.cancel();
    }
  }
}
