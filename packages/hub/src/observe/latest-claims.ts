import type { ConnectionClaim, Side } from '@culvert/protocol';

/** What an end last claimed about the connections of its session. */
export interface Claims {
  readonly claimedBy: Side;
  /** When it was received, in milliseconds since the epoch. */
  readonly at: number;
  readonly connections: readonly ConnectionClaim[];
}

/** Maximum sessions whose claims are kept, the newest ones: 30 KB each for two ends with a hundred connections, so 30 MB. */
export const MAX_CLAIMED_SESSIONS = 1_000;

/** The newest claims of each end, for the live view; kept only while the session has a stream. */
export class LatestClaims {
  /** By key of the session, then by end; the session that was reported last is the last one. */
  readonly #sessions = new Map<string, Map<Side, Claims>>();

  set(key: string, claims: Claims): void {
    const ofSession = this.#sessions.get(key) ?? new Map<Side, Claims>();
    ofSession.set(claims.claimedBy, claims);
    this.#sessions.delete(key);
    this.#sessions.set(key, ofSession);
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= MAX_CLAIMED_SESSIONS) return;
      this.#sessions.delete(oldest);
    }
  }

  /** The claims of both ends; empty when there are none. */
  get(key: string): Claims[] {
    return [...(this.#sessions.get(key)?.values() ?? [])];
  }

  delete(key: string): void {
    this.#sessions.delete(key);
  }

  get size(): number {
    return this.#sessions.size;
  }
}
