/** How much time may be spent: `share` of all time, and as much at once as `burstMs` says. */
interface Allowance {
  readonly share: number;
  /** Milliseconds. */
  readonly burstMs: number;
}

/** For one address: a hundred handshakes of a device with its certificate take about 200 ms, so many devices behind one NAT are back within seconds. */
const PER_ADDRESS: Allowance = { share: 0.1, burstMs: 500 };

/** For all addresses together: most of the thread's time is left for everything else, whatever unauthenticated clients send. */
const IN_ALL: Allowance = { share: 0.3, burstMs: 1_000 };

/** Milliseconds that a handshake counts at least, so that their number is bounded too. */
const LEAST_MS = 1;

/** Addresses kept before those that owe nothing are looked for: about a hundred bytes each. */
const SWEEP_AT = 1_024;

/**
 * Bounds the processor time that handshakes with a certificate take of a thread. What such a handshake costs is the client's choice: it sends a
 * chain of its own making, and OpenSSL reads and verifies all of it before anybody is asked, 115 ms for ninety P-521 certificates. So it is measured, and
 * held against the address: while that one has used up its share, further handshakes from it are refused.
 *
 * Times are processor time in milliseconds; `now` is the clock's.
 */
export class HandshakeBudget {
  /** When what an address has used is paid off. */
  readonly #paidAt = new Map<string, number>();
  #allPaidAt = Number.NEGATIVE_INFINITY;
  #sweepAt = SWEEP_AT;

  /** Whether a handshake of this address may begin. */
  admits(address: string, now: number): boolean {
    return isLeft(this.#paidAt.get(address) ?? now, now, PER_ADDRESS) && isLeft(this.#allPaidAt, now, IN_ALL);
  }

  /** Charges the address the minimum cost for a handshake that has begun. */
  begun(address: string, now: number): void {
    this.charge(address, LEAST_MS, now);
  }

  /** Charges the address the duration of a handshake. */
  charge(address: string, ms: number, now: number): void {
    this.#allPaidAt = paidAt(this.#allPaidAt, ms, now, IN_ALL);
    this.#paidAt.set(address, paidAt(this.#paidAt.get(address) ?? now, ms, now, PER_ADDRESS));
    if (this.#paidAt.size >= this.#sweepAt) this.#sweep(now);
  }

  /** Addresses that owe something, and some that did. Few: each costs time of {@link IN_ALL}. */
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
