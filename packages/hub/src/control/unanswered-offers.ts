import type { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';

/** Offers that a device has left without an answer since it last gave one. */
export interface Unanswered {
  /** When the first of them was made, in milliseconds since the epoch. */
  readonly since: number;
  readonly count: number;
}

/**
 * Milliseconds after which an offer whose caller left by itself counts as unanswered too: a person may give up before the handshake's time is
 * over, and a device needs less to answer.
 */
const PATIENCE_MS = 5_000;

/**
 * How often the device of one channel was asked for a stream and said nothing, since its last answer. A device that holds its connection open
 * and answers nothing looks online, and is not: some clients wait forever on a connection they have given up themselves.
 */
export class UnansweredOffers {
  readonly #clock: Clock;
  #now: Unanswered | undefined;
  #onChange: (now: Unanswered | undefined, before: Unanswered | undefined) => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined while the device answers. */
  get now(): Unanswered | undefined {
    return this.#now;
  }

  /** Calls back at every change from now on; one listener. */
  onChange(listener: (now: Unanswered | undefined, before: Unanswered | undefined) => void): void {
    this.#onChange = listener;
  }

  /**
   * An offer is made, now.
   * @returns what became of it, to be told at most once
   */
  offered(): { answered(): void; withdrawn(why: CulvertError): void } {
    const offeredAt = this.#clock.now();
    return {
      answered: () => this.#change(undefined),
      withdrawn: ({ code }) => {
        if (code !== 'device_silent' && this.#clock.now() - offeredAt < PATIENCE_MS) return;
        const before = this.#now;
        this.#change({ since: Math.min(before?.since ?? offeredAt, offeredAt), count: (before?.count ?? 0) + 1 });
      },
    };
  }

  #change(now: Unanswered | undefined): void {
    const before = this.#now;
    this.#now = now;
    if (now !== undefined || before !== undefined) this.#onChange(now, before);
  }
}
