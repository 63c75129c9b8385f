import { type ConnectionClaim, cutUtf8, SESSION_REPORT_LIMITS, type SessionReport } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { SessionConnection } from './core/connection.ts';
import type { ConnectionReason } from './core/frame.ts';

/** Milliseconds between two reports: the hub drops what arrives sooner than its interval, and one report may travel a second faster than another. */
export const REPORT_MS = SESSION_REPORT_LIMITS.intervalMs + 1_000;

/** How often the reports that are left are tried when the session is over. */
const LAST_ATTEMPTS = 3;

/** Which session is reported on, and how. */
export interface ConnectionReportsOptions {
  /** The session's id, as in its negotiation. */
  readonly sessionId: string;
  /** Its timers must not keep the process alive. */
  readonly clock: Clock;
  /**
   * Sends a report. Resolves with whether it was sent; if it was not, its connections are part of the next report. A rejection means that it never will
   * be: the connections are dropped.
   */
  readonly send: (report: SessionReport) => boolean | Promise<boolean>;
}

/**
 * Reports on the connections of one session for the hub's log and live view (docs/protocol/10-session.md): at most 100 connections in a report, and one
 * report in {@link REPORT_MS}. Of more connections the oldest are dropped and counted. A failure to report changes nothing else.
 */
export class ConnectionReports {
  readonly #options: ConnectionReportsOptions;
  /** Connections that were opened or closed since the last report, by id, oldest first. */
  #unreported = new Map<number, Unreported>();
  /** When open connections were opened, by id. */
  readonly #openedAt = new Map<number, number>();
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #isSending = false;
  #attemptsLeft = Number.POSITIVE_INFINITY;
  #dropped = 0;

  constructor(options: ConnectionReportsOptions) {
    this.#options = options;
  }

  /** Connections that no report tells of: there were too many, or the hub did not take them. */
  get dropped(): number {
    return this.#dropped;
  }

  /** A connection was opened. */
  opened(connection: SessionConnection): void {
    const opened = this.#now;
    this.#openedAt.set(connection.id, opened);
    this.#add(connection.id, { connection, opened });
  }

  /** A connection was closed. @param reason undefined after a normal end */
  closed(connection: SessionConnection, reason: ConnectionReason | undefined): void {
    const closed = this.#now;
    // The clock may have been set back.
    const opened = Math.min(this.#openedAt.get(connection.id) ?? closed, closed);
    this.#openedAt.delete(connection.id);
    this.#add(connection.id, { connection, opened, closed, reason });
  }

  /** The session is over: sends the last report, now or when the interval allows it. */
  end(): void {
    this.#attemptsLeft = LAST_ATTEMPTS;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#schedule(0);
  }

  get #now(): number {
    return this.#options.clock.now();
  }

  #add(id: number, entry: Unreported): void {
    this.#unreported.delete(id);
    this.#unreported.set(id, entry);
    this.#dropExcess();
    // What follows soon goes into the same report.
    this.#schedule(REPORT_MS);
  }

  #dropExcess(): void {
    for (const oldest of this.#unreported.keys()) {
      if (this.#unreported.size <= SESSION_REPORT_LIMITS.connections) return;
      this.#unreported.delete(oldest);
      this.#dropped++;
    }
  }

  #schedule(leastMs: number): void {
    if (this.#timer !== undefined || this.#isSending || this.#unreported.size === 0) return;
    const wait = Math.max(leastMs, this.#sentAt + REPORT_MS - this.#now);
    if (wait <= 0) void this.#send();
    else {
      this.#timer = this.#options.clock.setTimer(Math.min(wait, REPORT_MS), () => {
        this.#timer = undefined;
        void this.#send();
      });
    }
  }

  async #send(): Promise<void> {
    const batch = this.#unreported;
    this.#unreported = new Map();
    this.#isSending = true;
    this.#sentAt = this.#now;
    this.#attemptsLeft--;
    let isSent = false;
    try {
      isSent = await this.#options.send({
        session: this.#options.sessionId,
        connections: [...batch.values()].map(claimOf),
      });
    } catch {
      // The hub refuses reports of this session. Nobody depends on them.
      this.#dropped += batch.size;
      batch.clear();
    }
    this.#isSending = false;
    if (!isSent) this.#keep(batch);
    this.#schedule(REPORT_MS);
  }

  #keep(batch: Map<number, Unreported>): void {
    if (this.#attemptsLeft <= 0) {
      this.#dropped += batch.size;
      return;
    }
    const newer = this.#unreported;
    for (const id of newer.keys()) batch.delete(id);
    this.#unreported = new Map([...batch, ...newer]);
    this.#dropExcess();
  }
}

interface Unreported {
  readonly connection: SessionConnection;
  /** Milliseconds since the epoch. */
  readonly opened: number;
  readonly closed?: number;
  readonly reason?: ConnectionReason | undefined;
}

function claimOf({ connection, opened, closed, reason }: Unreported): ConnectionClaim {
  return {
    ...{ id: connection.id, service: cutUtf8(connection.service, SESSION_REPORT_LIMITS.serviceBytes), opened },
    ...(closed === undefined ? {} : { closed }),
    ...{ sent: connection.sentBytes, received: connection.receivedBytes },
    ...(reason === undefined ? {} : { reason }),
  };
}
