import type { Budget } from './budget.ts';

/** The first window of a connection while memory is free. */
const FIRST_BYTES = 262_144;
/** The first window of each connection beyond {@link FREE_BYTES}: 1,000 of them fit. */
const SMALL_BYTES = 8_192;
/** The largest window of one connection. */
const MAX_BYTES = 4_194_304;
/** The sum of windows up to which first windows are large and windows grow. */
const FREE_BYTES = 8_388_608;

/** The receive windows of a session's connections. Together they hold at most 16 MiB: 8 MiB freely, then 8 KiB for each of 1,000 connections. */
export class ReceiveWindows {
  readonly #budget: Budget;
  #sum = 0;
  #count = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** The window of a new connection. */
  open(): ReceiveWindow {
    const isFree = this.#sum + FIRST_BYTES <= FREE_BYTES && this.#budget.take(FIRST_BYTES);
    // The small windows are not taken from the budget: a connection could not exist without one.
    const bytes = isFree ? FIRST_BYTES : SMALL_BYTES;
    this.#sum += bytes;
    this.#count++;
    return new ReceiveWindow(this, bytes, isFree ? bytes : 0);
  }

  /** Doubles a window, if memory is free. */
  tryGrow(bytes: number): boolean {
    if (bytes * 2 > MAX_BYTES || this.#sum + bytes > FREE_BYTES || !this.#budget.take(bytes)) return false;
    this.#sum += bytes;
    return true;
  }

  /** How far a window is renewed when memory is scarce: nobody's share is more than the others'. */
  get share(): number {
    return this.#sum <= FREE_BYTES ? MAX_BYTES : Math.max(SMALL_BYTES, FREE_BYTES / this.#count);
  }

  close(bytes: number, fromBudget: number): void {
    this.#sum -= bytes;
    this.#count--;
    this.#budget.give(fromBudget);
  }
}

/** How many payload bytes the peer may send on one connection. Limits are absolute: totals since the connection was opened. */
export class ReceiveWindow {
  readonly #windows: ReceiveWindows;
  #bytes: number;
  #fromBudget: number;
  #limit: number;
  #received = 0;
  #consumed = 0;
  #renewedAt = Number.NEGATIVE_INFINITY;

  constructor(windows: ReceiveWindows, bytes: number, fromBudget: number) {
    this.#windows = windows;
    this.#bytes = bytes;
    this.#fromBudget = fromBudget;
    this.#limit = bytes;
  }

  /** The limit that the peer has been given. */
  get limit(): number {
    return this.#limit;
  }

  /** Bytes received in all. */
  get received(): number {
    return this.#received;
  }

  /** Bytes received that the local program has not consumed. */
  get unconsumed(): number {
    return this.#received - this.#consumed;
  }

  /** @returns false if the peer sent more than its limit */
  receive(bytes: number): boolean {
    this.#received += bytes;
    return this.#received <= this.#limit;
  }

  /**
   * The local program has consumed bytes. Returns whether the peer must be given the new `limit`: when half of the window has been consumed,
   * never on reception. Earlier would send a LIMIT for every frame, later would stop the peer.
   */
  consume(bytes: number, now: number, roundTripMs: number | undefined): boolean {
    this.#consumed += bytes;
    if (this.#limit - this.#consumed > Math.min(this.#bytes, this.#windows.share) / 2) return false;
    // A window that is used up twice within two round trips limits the rate.
    if (roundTripMs !== undefined && now - this.#renewedAt < 2 * roundTripMs && this.#windows.tryGrow(this.#bytes)) {
      this.#fromBudget += this.#bytes;
      this.#bytes *= 2;
    }
    const limit = this.#consumed + Math.min(this.#bytes, this.#windows.share);
    if (limit <= this.#limit) return false;
    this.#renewedAt = now;
    this.#limit = limit;
    return true;
  }

  /** Gives the memory back. */
  close(): void {
    this.#windows.close(this.#bytes, this.#fromBudget);
  }
}
