import type { Clock } from '@culvert/stream';

/** Reports of all sessions that may be sent at once. The hub reads as many of a device, and then one a second (docs/protocol/10-session.md). */
const BURST = 10;

/** Milliseconds in which one more may be sent: a little slower than the hub reads them. */
const EACH_MS = 1_100;

/** Limits the reports of a device over all its sessions, since the hub drops what is sent faster. */
export class ReportPace {
  readonly #clock: Clock;
  /** When all of {@link BURST} may be sent at once again, in milliseconds since the epoch. */
  #fullAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a report may be sent now, which is then counted. */
  get allows(): boolean {
    const now = this.#clock.now();
    const next = Math.max(this.#fullAt, now) + EACH_MS;
    // A clock that was set back must not stop all reports.
    if (next - now > BURST * EACH_MS && next - now <= 2 * BURST * EACH_MS) return false;
    this.#fullAt = next - now > BURST * EACH_MS ? now + EACH_MS : next;
    return true;
  }
}
