import { SESSION_MEMORY_MS } from '../observe/known-sessions.ts';

/** Maximum session ids that are remembered after an administrator closed a stream of theirs; beyond it the oldest is forgotten. */
export const MAX_CLOSED_SESSIONS = 10_000;

/**
 * The ids of sessions that an administrator closed. The ends are told by the close code; this is for an end whose connection was lost just then, and
 * which would resume the session. Kept in memory, for as long as an end may keep a session.
 */
export class ClosedSessions {
  readonly #now: () => number;
  /** When each was closed, in milliseconds since the epoch, and what its ends are told; oldest first. */
  readonly #closed = new Map<string, { readonly at: number; readonly text: string }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param text what its ends are told */
  add(sessionId: string, text: string): void {
    this.#closed.delete(sessionId);
    this.#closed.set(sessionId, { at: this.#now(), text });
    for (const oldest of this.#closed.keys()) {
      if (this.#closed.size <= MAX_CLOSED_SESSIONS) return;
      this.#closed.delete(oldest);
    }
  }

  /** What the ends of a closed session are told; undefined if the session was not closed. */
  get(sessionId: string): string | undefined {
    const closed = this.#closed.get(sessionId);
    return closed !== undefined && this.#now() - closed.at < SESSION_MEMORY_MS ? closed.text : undefined;
  }

  get size(): number {
    return this.#closed.size;
  }
}
