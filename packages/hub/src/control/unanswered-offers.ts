import type { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';

/** The offers that a device has left unanswered since its last answer. */
export interface Unanswered {
  /** When the first of these offers was sent, in milliseconds since the epoch. */
  readonly since: number;
  readonly count: number;
}

/**
 * Milliseconds after which an offer that its caller withdraws counts as unanswered. A person may give up before the handshake times out, and a device
 * needs less time than this to answer.
 */
const WITHDRAWAL_MS = 5_000;

/**
 * Counts the offers on one channel that the device has not answered since its last answer. A device that keeps its connection open and never answers
 * looks online but cannot be reached: some clients wait forever on a connection that they have abandoned.
 */
export class UnansweredOffers {
  readonly #clock: Clock;
  #now: Unanswered | undefined;
  #onChange: (now: Unanswered | undefined, before: Unanswered | undefined) => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The unanswered offers; undefined if the device answered the last one. */
  get now(): Unanswered | undefined {
    return this.#now;
  }

  /** Sets the one listener that is called at every later change. */
  onChange(listener: (now: Unanswered | undefined, before: Unanswered | undefined) => void): void {
    this.#onChange = listener;
  }

  /**
   * Records that an offer was sent now.
   * @returns functions that report the outcome; at most one of them may be called, once
   */
  offered(): { answered(): void; withdrawn(why: CulvertError): void } {
    const offeredAt = this.#clock.now();
    return {
      answered: () => this.#change(undefined),
      withdrawn: ({ code }) => {
        if (code !== 'device_silent' && this.#clock.now() - offeredAt < WITHDRAWAL_MS) return;
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
