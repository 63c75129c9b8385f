/** Bytes per millisecond of a fast link: it passes on a frame of full size in less than 7 ms. */
export const FAST_BYTES_PER_MS = 10_000;
/** Bytes per millisecond of a very fast link. */
const VERY_FAST_BYTES_PER_MS = 60_000;

/**
 * After how many bytes a receiver of `rate` bytes per millisecond acknowledges, at most: after few on slow links, so that the sender can keep little in
 * flight, and after more on fast ones, where an acknowledgement for each message would cost as much as the message.
 */
export function ackBytesOf(rate: number): number {
  if (rate >= VERY_FAST_BYTES_PER_MS) return 262_144;
  return rate >= FAST_BYTES_PER_MS ? 65_536 : 16_384;
}

/** By how much the rate that the receiver measures may exceed this end's estimate. */
const RECEIVER_MAY_MEASURE = 1.5;

/** Unacknowledged bytes that are always allowed: less would stop the link for a round trip after each message. */
const MIN_BYTES = 65_536;
/** Allowed before the first acknowledgement has been measured. */
const FIRST_BYTES = 262_144;
/** How far beyond bandwidth × delay, while a program with little data waits beside others. */
const INTERACTIVE_GAIN = 1.3;
/** The same for bulk alone. Without any limit an upload would delay the LIMIT frames of downloads. */
const BULK_GAIN = 4;
/** Milliseconds that a delivery rate is remembered at least; it is forgotten after two such periods without a higher one. */
const RATE_PERIOD_MS = 500;
/** The same in round trips. */
const RATE_PERIOD_ROUND_TRIPS = 8;
/**
 * Milliseconds without a round trip below {@link BULK_GAIN} × the least one, in round trips and at least, after which the least is measured anew, with
 * little in flight. Without it, a link that became slower, for instance because the machine has more to do, would stay nearly empty forever.
 */
const DOUBTED_ROUND_TRIPS = 100;
const DOUBTED_MS = 500;
/** Measurements under way: one for each message that was sent; older messages beyond it are measured with the next. */
const MAX_SAMPLES = 256;

interface Sample {
  /** Offset after the message. */
  offset: number;
  sentAt: number;
  /** What was acknowledged when it was sent, and when that was. */
  acknowledged: number;
  acknowledgedAt: number;
  /** Whether programs had nothing more to send, so that the message says nothing about the link's rate. */
  isProgramLimited: boolean;
  /** Whether so little was in flight with it that it stood in no queue of ours. */
  isProbe: boolean;
}

/**
 * Estimates how many bytes should be unacknowledged on a link: its delivery rate × its least round trip, with some addition (docs/protocol/10-session.md;
 * the measurement is that of BBR, draft-ietf-ccwg-bbr §4.1). What is in flight beyond this stands in a queue somewhere, and a keystroke behind it.
 */
export class InFlight {
  readonly #now: () => number;
  readonly #samples: Sample[] = [];
  #acknowledged: number;
  #acknowledgedAt: number;
  #minRoundTripMs = Number.POSITIVE_INFINITY;
  /** Milliseconds when the least round trip was last measured, or confirmed by one that is not much longer. */
  #confirmedAt: number;
  /** The least round trip is to be measured anew: only so much is in flight as makes the receiver acknowledge at once. */
  #isProbing = false;
  #rate = 0;
  #formerRate = 0;
  #periodStart: number;

  /**
   * @param acknowledged the offset up to which the peer had received everything when the link began
   * @param now milliseconds of a monotonic clock
   */
  constructor(acknowledged: number, now: () => number) {
    this.#now = now;
    this.#acknowledged = acknowledged;
    this.#acknowledgedAt = now();
    this.#periodStart = this.#acknowledgedAt;
    this.#confirmedAt = this.#acknowledgedAt;
  }

  /** The least round trip of this link in milliseconds; undefined before the first measurement. */
  get minRoundTripMs(): number | undefined {
    return Number.isFinite(this.#minRoundTripMs) ? this.#minRoundTripMs : undefined;
  }

  /** The delivery rate in bytes per millisecond; 0 before the first measurement. */
  get rate(): number {
    return Math.max(this.#rate, this.#formerRate);
  }

  /** A message was sent that ends at `offset`. */
  sent(offset: number, isProgramLimited: boolean): void {
    const now = this.#now();
    // Nothing was in flight: the time until now was the programs', not the link's.
    if (this.#samples.length === 0) this.#acknowledgedAt = now;
    const isProbe = this.#isProbing && offset - this.#acknowledged <= this.#probeBytes;
    const last = this.#samples.at(-1);
    if (last !== undefined && (last.sentAt === now || this.#samples.length >= MAX_SAMPLES)) {
      last.offset = offset;
      last.isProgramLimited = isProgramLimited;
      last.isProbe &&= isProbe;
      return;
    }
    const [acknowledged, acknowledgedAt] = [this.#acknowledged, this.#acknowledgedAt];
    this.#samples.push({ offset, sentAt: now, acknowledged, acknowledgedAt, isProgramLimited, isProbe });
  }

  /** The peer has acknowledged everything before `offset`. */
  acknowledge(offset: number): void {
    const now = this.#now();
    let last: Sample | undefined;
    let count = 0;
    let from = this.#acknowledged;
    for (const sample of this.#samples) {
      // The first part of a message tells as much as all of it, and sooner: what follows it stands in a queue behind it.
      if (offset > from) last = sample;
      if (sample.offset > offset) break;
      from = sample.offset;
      count++;
    }
    this.#samples.splice(0, count);
    this.#acknowledged = offset;
    this.#acknowledgedAt = now;
    if (last === undefined) return;
    this.#measuredRoundTrip(Math.max(now - last.sentAt, SHORTEST_MS), last.isProbe);
    const elapsed = Math.max(now - last.acknowledgedAt, SHORTEST_MS);
    this.#measured((offset - last.acknowledged) / elapsed, last.isProgramLimited);
  }

  /** How many bytes may be unacknowledged now. */
  limit(hasInteractive: boolean): number {
    const rate = this.rate;
    if (rate === 0) return FIRST_BYTES;
    if (this.#isProbing) return this.#probeBytes;
    const product = rate * this.#minRoundTripMs;
    // Without the steps of the acknowledgement, which come in whole steps, the estimate would starve itself. The receiver may have measured a higher rate.
    const step = this.#ackBytes;
    return Math.max(MIN_BYTES, Math.floor((hasInteractive ? INTERACTIVE_GAIN : BULK_GAIN) * product) + 2 * step);
  }

  get #ackBytes(): number {
    return ackBytesOf(RECEIVER_MAY_MEASURE * this.rate);
  }

  /** Room for one step of the acknowledgement, whose last frame may go beyond it. */
  get #probeBytes(): number {
    return this.#ackBytes + Math.min(this.#ackBytes, MIN_BYTES);
  }

  #measuredRoundTrip(ms: number, isProbe: boolean): void {
    const now = this.#now();
    const longest = BULK_GAIN * this.#minRoundTripMs;
    if (ms < this.#minRoundTripMs || (isProbe && ms > longest)) this.#minRoundTripMs = ms;
    if (isProbe || ms <= longest) {
      this.#confirmedAt = now;
      this.#isProbing = false;
    } else if (now - this.#confirmedAt >= Math.max(DOUBTED_MS, DOUBTED_ROUND_TRIPS * this.#minRoundTripMs))
      this.#isProbing = true;
  }

  #measured(rate: number, isProgramLimited: boolean): void {
    const now = this.#now();
    if (isProgramLimited && rate < this.rate) return;
    const period = Math.max(RATE_PERIOD_MS, RATE_PERIOD_ROUND_TRIPS * this.#minRoundTripMs);
    if (now - this.#periodStart >= period) {
      this.#formerRate = this.#rate;
      this.#rate = 0;
      this.#periodStart = now;
    }
    this.#rate = Math.max(this.#rate, rate);
  }
}

/** A clock with whole milliseconds shows 0 on a fast link. */
const SHORTEST_MS = 0.05;
