/** How much processor time may be spent: `share` of the elapsed time, and up to `burstMs` at once. */
interface Allowance {
  readonly share: number;
  /** Milliseconds. */
  readonly burstMs: number;
}

/** For one address: a hundred handshakes of devices with a certificate take about 200 ms, so many devices behind one NAT can reconnect within seconds. */
const PER_ADDRESS: Allowance = { share: 0.1, burstMs: 500 };

/** For all addresses together: leaves most of the thread's time for other work, whatever unauthenticated clients send. */
const IN_ALL: Allowance = { share: 0.3, burstMs: 1_000 };

/** Minimum milliseconds charged for a handshake, so that the number of handshakes is limited too. */
const LEAST_MS = 1;

/** Number of addresses at which those without a debt are removed. Each takes about a hundred bytes. */
const SWEEP_AT = 1_024;

/**
 * Limits the processor time that handshakes with a certificate take from a thread. The client determines the cost of such a handshake: it sends a
 * chain of its choice, and OpenSSL parses and verifies the whole chain before the hub can decide anything, which takes 115 ms for ninety P-521
 * certificates. So the time is measured and charged to the client's address. While an address has used up its share, its further handshakes are refused.
 *
 * Times are processor time in milliseconds; `now` is the clock's.
 */
export class HandshakeBudget {
  /** For each address, the time at which its share will have made up for the processor time that it has used. */
  readonly #paidAt = new Map<string, number>();
  #allPaidAt = Number.NEGATIVE_INFINITY;
  #sweepAt = SWEEP_AT;

  /** Whether a handshake from this address may begin. */
  admits(address: string, now: number): boolean {
    return isLeft(this.#paidAt.get(address) ?? now, now, PER_ADDRESS) && isLeft(this.#allPaidAt, now, IN_ALL);
  }

  /** Charges the address the minimum cost for a handshake that has begun. */
  begun(address: string, now: number): void {
    this.charge(address, LEAST_MS, now);
  }

  /** Charges the address the measured processor time of a handshake, or of a part of it. */
  charge(address: string, ms: number, now: number): void {
    this.#allPaidAt = paidAt(this.#allPaidAt, ms, now, IN_ALL);
    this.#paidAt.set(address, paidAt(this.#paidAt.get(address) ?? now, ms, now, PER_ADDRESS));
    if (this.#paidAt.size >= this.#sweepAt) this.#sweep(now);
  }

  /** Number of addresses kept: those with a debt, and some whose debt has run out. It stays small, because each address takes time from {@link IN_ALL}. */
  get size(): number {
    return this.#paidAt.size;
  }

  #sweep(now: number): void {
    for (const [address, at] of this.#paidAt) if (at <= now) this.#paidAt.delete(address);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#paidAt.size);
  }
}

function isLeft(at: number, now: number, { share, burstMs }: Allowance): boolean {
  return (at - now) * share < burstMs;
}

function paidAt(at: number, ms: number, now: number, { share }: Allowance): number {
  return Math.max(at, now) + ms / share;
}
