import { SESSION_MEMORY_MS } from '../observe/known-sessions.ts';

/** Maximum session ids that are remembered after an administrator closed a stream of theirs; beyond it the oldest is forgotten. */
export const MAX_CLOSED_SESSIONS = 10_000;

/**
 * The ids of sessions that an administrator closed. The ends are told by the close code; this is for an end whose connection was lost just then, and
 * which would resume the session. Kept in memory, for as long as an end may keep a session.
 */
export class ClosedSessions {
  readonly #now: () => number;
  /** When each was closed, in milliseconds since the epoch, oldest first. */
  readonly #closed = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  add(sessionId: string): void {
    this.#closed.delete(sessionId);
    this.#closed.set(sessionId, this.#now());
    for (const oldest of this.#closed.keys()) {
      if (this.#closed.size <= MAX_CLOSED_SESSIONS) return;
      this.#closed.delete(oldest);
    }
  }

  has(sessionId: string): boolean {
    const closedAt = this.#closed.get(sessionId);
    return closedAt !== undefined && this.#now() - closedAt < SESSION_MEMORY_MS;
  }

  get size(): number {
    return this.#closed.size;
  }
}
