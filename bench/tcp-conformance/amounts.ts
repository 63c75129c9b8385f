/** How much each case moves and how long it waits. The unit tests use smaller ones. */
export interface Amounts {
  /** Milliseconds for a connection to reach the target. */
  readonly openMs: number;
  /** Milliseconds without progress after which something counts as not happening. */
  readonly waitMs: number;
  /** Milliseconds between a half-close and the late answer, and over which the paced answer is spread. */
  readonly delayMs: number;
  /** Milliseconds that the idle connection is left alone. */
  readonly idleMs: number;
  /** Milliseconds for which a reader reads nothing, and then for as long again reads slowly. */
  readonly stallMs: number;
  /** Bytes before a half-close. */
  readonly requestBytes: number;
  /** Bytes of the answer after a half-close. */
  readonly answerBytes: number;
  /** Bytes offered to a reader that reads nothing, when the case is about the connection and not about memory. */
  readonly queuedBytes: number;
  /** Bytes offered to a slow reader. */
  readonly offeredBytes: number;
  /**
   * Bytes that may be taken from a sender whose reader reads nothing: {@link residentBytes} in the tunnel's processes and as much in
   * the kernel, which holds up to 10 MiB for each of the four to six sockets in a row.
   */
  readonly takenBytes: number;
  /** Bytes by which the resident memory of all of the tunnel's processes together may grow while a reader is slow. */
  readonly residentBytes: number;
  readonly shortConnections: number;
  readonly connectionsAtOnce: number;
  readonly resets: number;
}

const MIB = 2 ** 20;

/** What the kit uses unless told otherwise. */
export const AMOUNTS: Amounts = {
  openMs: 10_000,
  waitMs: 10_000,
  delayMs: 8_000,
  idleMs: 600_000,
  stallMs: 5_000,
  requestBytes: 8 * MIB,
  answerBytes: MIB,
  queuedBytes: 32 * MIB,
  offeredBytes: 1024 * MIB,
  takenBytes: 128 * MIB,
  residentBytes: 64 * MIB,
  shortConnections: 1_000,
  connectionsAtOnce: 200,
  resets: 100,
};
