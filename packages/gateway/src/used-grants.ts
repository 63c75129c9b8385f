import { CulvertError, LIMITS, type Side } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { Clock, Timer } from '@culvert/stream';

interface Entry {
  readonly used: Set<Side>;
  /** Why no grant of the stream is taken any more. */
  barred: CulvertError | undefined;
  until: number;
  forget: Timer;
}

/**
 * Which grants were used, and which streams take none any more: remembered until those grants have expired. So a grant opens one
 * connection and no second one. (That it opens none after a restart is the boot id's doing.)
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
   * Refuses what {@link use} would refuse.
   * @throws CulvertError `grant_invalid` when the grant was used, or the error its stream was barred with
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

  /** Takes no grant of the stream any more; the first error given stays. */
  bar(streamId: string, error: CulvertError): void {
    const entry = this.#entry(streamId, 0);
    entry.barred ??= error;
  }

  /** Forgets everything, to free the timers. */
  clear(): void {
    for (const entry of this.#entries.values()) entry.forget.cancel();
    this.#entries.clear();
  }

  /** The other side's grant may expire later than the one at hand, but no grant lives longer than a handshake. */
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
