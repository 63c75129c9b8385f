import { CulvertError, LIMITS, type Side } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { Clock, Timer } from '@culvert/stream';

interface Entry {
  readonly used: Set<Side>;
  /** The error for every further grant of the stream. */
  barred: CulvertError | undefined;
  until: number;
  forget: Timer;
}

/**
 * Remembers used grants, and streams whose grants were invalidated, until those grants expire. So a grant opens one
 * connection and no second one. (After a restart, the boot id invalidates all earlier grants.)
 */
export class UsedGrants {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Streams remembered. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Throws what {@link use} would throw.
   * @throws CulvertError `grant_invalid` when the grant was used, or the error with which its stream was invalidated
   */
  check({ streamId, side }: GrantClaims): void {
    const entry = this.#entries.get(streamId);
    if (entry?.used.has(side)) throw new CulvertError('grant_invalid', 'The grant was used before.');
    if (entry?.barred !== undefined) throw entry.barred;
  }

  /** Marks the grant as used. @throws CulvertError as {@link check} */
  use(claims: GrantClaims): void {
    this.check(claims);
    this.#entry(claims.streamId, claims.expiresAt).used.add(claims.side);
  }

  /** Invalidates all grants of the stream; the first error given is kept. */
  bar(streamId: string, error: CulvertError): void {
    const entry = this.#entry(streamId, 0);
    entry.barred ??= error;
  }

  /** Clears everything and cancels the timers. */
  clear(): void {
    for (const entry of this.#entries.values()) entry.forget.cancel();
    this.#entries.clear();
  }

  /** The other side's grant may expire later than this one, but no grant lives longer than a handshake. */
  #entry(streamId: string, expiresAt: number): Entry {
    const until = Math.max(expiresAt, this.#clock.now() + LIMITS.handshakeMs);
    const known = this.#entries.get(streamId);
    if (known === undefined) {
      const entry = { used: new Set<Side>(), barred: undefined, until, forget: this.#forgetAt(streamId, until) };
      this.#entries.set(streamId, entry);
      return entry;
    }
    if (until > known.until) {
      known.forget.cancel();
      known.forget = this.#forgetAt(streamId, until);
      known.until = until;
    }
    return known;
  }

  #forgetAt(streamId: string, until: number): Timer {
    return this.#clock.setTimer(until - this.#clock.now(), () => this.#entries.delete(streamId));
  }
}
