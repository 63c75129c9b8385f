import type { Budget } from './budget.ts';
import type { SessionConnection } from './connection.ts';
import type { SessionEnvironment } from './environment.ts';
import {
  BYE_FIXED_BYTES,
  type ConnectionReason,
  readUint32,
  readUint64,
  type SessionReason,
  sessionReason,
} from './frame.ts';
import { equalBytes, proofInput } from './hello.ts';
import type { Link, LinkEvents } from './link.ts';
import { Multiplexer } from './multiplexer.ts';
import { DEFAULT_RETENTION_SECONDS, MAX_RETENTION_SECONDS, Silence } from './retention.ts';

/** Milliseconds of silence after which an end sends PING, while a connection is open or bytes are unacknowledged. */
const PING_MS = 10_000;
/** PINGs without a byte in answer after which the link is lost. */
const MAX_PINGS = 2;
/**
 * Silences of {@link PING_MS} without a connection and with everything acknowledged, after which the device takes its link for lost: two minutes. No PING is
 * sent meanwhile, since it would wake a radio for nothing, and the service side ends such a session after one minute. Had its BYE been lost, the device
 * would keep a dead link, and with it a session that never expires.
 */
const MAX_QUIET_CHECKS = 12;
/** Milliseconds between two looks at the retention: a timer knows nothing of the time for which the machine was suspended. */
const RETENTION_LOOK_MS = 30_000;
/** A timer that fires later than this was delayed with the whole process: silence in that time says nothing. */
const LATE_MS = 2_000;
/** Parts of the idle limit after which the session looks whether data has moved. */
const IDLE_PARTS = 8;

/** How a session ended. */
export interface SessionEnd {
  readonly reason: SessionReason | 'closed';
  /** Words for people; may be empty. */
  readonly text: string;
  /** The peer has ended it. */
  readonly byPeer: boolean;
}

/** What happens to a session. Nothing is called after `closed`. */
export interface SessionEvents {
  /** Device side: the peer opens a connection. */
  opened?(connection: SessionConnection): void;
  /** A connection has ended; without a reason both directions had. */
  connectionClosed?(connection: SessionConnection, reason: ConnectionReason | undefined): void;
  /**
   * The link is lost; connections are kept. Device side: also when a newer link takes the place of one that was not known to be lost; then `linkProven`
   * follows at once.
   */
  linkLost?(): void;
  /** A link is there again, or for the first time. */
  linkProven?(link: Link): void;
  /** A link was dropped before the peer had proved itself; the session is unharmed. Anybody may have made it. */
  linkRefused?(text: string): void;
  /** Service side: the device refuses a connection since it is about to stop. Returns whether the connection is to be opened in another session. */
  turnedAway?(connection: SessionConnection): boolean;
  /** The session is about to abort its connections. */
  ending?(end: SessionEnd): void;
  /**
   * The session is over. All its connections were aborted, except (service side) `unopened`: those are to be opened in another session, which takes them
   * with `open`, or aborted. They keep what their programs write meanwhile.
   */
  closed(end: SessionEnd, unopened: readonly SessionConnection[]): void;
}

/** What both ends of a session need. */
export interface SessionOptions {
  readonly environment: SessionEnvironment;
  readonly events: SessionEvents;
  /** Memory beyond first buffers is taken from it; sessions may share one. */
  readonly budget: Budget;
  /** Seconds for which the session is kept without a link; 1 to {@link MAX_RETENTION_SECONDS}, default 900. The lesser of both ends holds. */
  readonly retentionSeconds?: number | undefined;
  /** Milliseconds without DATA after which the session ends; default none. Time without a link does not count. */
  readonly idleMs?: number | undefined;
}

/** What both ends of a session have in common: the multiplexer, the current link and its liveness, retention, and the end. */
export abstract class SessionCore implements LinkEvents {
  readonly #side: 'service' | 'device';
  protected readonly environment: SessionEnvironment;
  protected readonly events: SessionEvents;
  protected readonly multiplexer: Multiplexer;
  protected retentionSeconds: number;
  readonly #idleMs: number | undefined;
  #idleFor = 0;
  #dataBytesSeen = 0;
  #cancelIdle: (() => void) | undefined;
  readonly #silence: Silence;
  #pings = 0;
  #quietChecks = 0;
  #cancelPing: (() => void) | undefined;
  #cancelRetention: (() => void) | undefined;
  #current: Link | undefined;
  #end: SessionEnd | undefined;
  /** The number of the last link that was proven. */
  protected provenNumber = 0;

  protected constructor(
    side: 'service' | 'device',
    { environment, events, budget, retentionSeconds, idleMs }: SessionOptions,
  ) {
    this.#side = side;
    this.environment = environment;
    this.events = events;
    this.retentionSeconds = Math.min(MAX_RETENTION_SECONDS, Math.max(1, retentionSeconds ?? DEFAULT_RETENTION_SECONDS));
    this.#idleMs = idleMs;
    this.#silence = new Silence(environment);
    this.multiplexer = new Multiplexer({
      side,
      environment,
      budget,
      events: {
        opened: (connection) => events.opened?.(connection),
        closed: (connection, reason) => events.connectionClosed?.(connection, reason),
        turnedAway: (connection) => events.turnedAway?.(connection) === true,
        progressed: () => this.progressed(),
      },
    });
  }

  /** How the session ended; undefined while it lives. */
  get end(): SessionEnd | undefined {
    return this.#end;
  }

  /** Whether there is a link on which the peer has proved itself. */
  get isUp(): boolean {
    return this.#current !== undefined;
  }

  /** The current link. */
  get current(): Link | undefined {
    return this.#current;
  }

  /** Open connections. */
  get connections(): Iterable<SessionConnection> {
    return this.multiplexer.connections;
  }

  get size(): number {
    return this.multiplexer.size;
  }

  /** Frames of the peer for connections that were over, which were dropped. */
  get droppedFrames(): number {
    return this.multiplexer.droppedFrames;
  }

  /** Connections in the queues of those that have data to send, some of which may be over. */
  get queued(): number {
    return this.multiplexer.queued;
  }

  protected abstract secret: Uint8Array;
  abstract hello(link: Link): void;
  abstract proof(link: Link, proof: Uint8Array): void;
  abstract lost(link: Link): void;
  protected abstract byeBeforeProof(link: Link, reason: SessionReason, text: string): void;
  protected abstract progressed(): void;
  protected abstract retentionOver(): void;
  protected abstract brokenBeforeProof(link: Link, text: string): void;

  // Links

  /** Makes a proven link the current one. */
  protected use(link: Link): void {
    link.isProven = true;
    this.#current = link;
    this.provenNumber = link.number;
    this.#cancelRetention?.();
    this.#cancelRetention = undefined;
    this.heard(link);
    this.#watchSilence();
    this.#watchIdle();
  }

  /** Forgets the current link and begins to count the retention. */
  protected unuse(): void {
    this.#current = undefined;
    this.#cancelPing?.();
    this.#cancelPing = undefined;
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    this.multiplexer.detach();
    this.watchRetention();
  }

  /** Sends PROOF, then calls `sent`: nothing that is counted may go before it. `sent` is not called if the link or the session is over meanwhile. */
  protected prove(link: Link, hellos: readonly [Uint8Array, Uint8Array], sent: () => void): void {
    link.awaitProof();
    this.environment.hmac(this.secret, proofInput(this.#side, ...hellos, link.binding), (mac) => {
      link.sendProof(mac);
      if (!link.isOver && this.#end === undefined) sent();
    });
  }

  /** Verifies a proof of the other side; frames behind it wait until that is done. */
  protected verify(
    link: Link,
    proof: Uint8Array,
    hellos: readonly [Uint8Array, Uint8Array],
    done: (isGood: boolean) => void,
  ): void {
    const peer = this.#side === 'service' ? 'device' : 'service';
    let isDone = false;
    this.environment.hmac(this.secret, proofInput(peer, ...hellos, link.binding), (mac) => {
      isDone = true;
      if (!link.isOver && this.#end === undefined) done(equalBytes(mac, proof));
      link.release();
    });
    if (!isDone) link.hold();
  }

  heard(link: Link): void {
    if (link !== this.#current) return;
    this.#silence.heard();
    this.#pings = 0;
    this.#quietChecks = 0;
  }

  counted(
    link: Link,
    type: number,
    connection: number,
    length: number,
    pieces: readonly Uint8Array[],
  ): string | undefined {
    if (link !== this.#current) return 'A frame on a link that is no longer the current one.';
    return this.multiplexer.receive(type, connection, length, pieces);
  }

  acknowledged(link: Link, offset: Uint8Array): string | undefined {
    if (link !== this.#current) return undefined;
    return this.multiplexer.acknowledge(readUint64(offset, 0)) ? undefined : 'ACK goes back, or beyond what was sent.';
  }

  bye(link: Link, payload: Uint8Array): void {
    const reason = sessionReason(payload[0]);
    const text = DECODER.decode(payload.subarray(BYE_FIXED_BYTES));
    if (link !== this.#current && !link.isProven) this.byeBeforeProof(link, reason, text);
    else if (link === this.#current) this.finish({ reason, text, byPeer: true }, readUint32(payload, 1));
    else link.drop();
  }

  violation(link: Link, text: string): void {
    if (link === this.#current) this.finish({ reason: 'protocol', text, byPeer: false });
    else this.brokenBeforeProof(link, text);
  }

  // The end

  /**
   * Ends the session: BYE on the current link, if there is one, and an error for every connection.
   * @param end `closed` if this end was told from outside to close it
   * @param highestTaken the highest connection id of which the device has taken OPEN, by its BYE; undefined if it did not say so
   */
  protected finish(end: SessionEnd, highestTaken?: number): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const link = this.#current;
    if (link !== undefined) {
      if (end.byPeer) link.bye('done', 0, '');
      else link.bye(end.reason === 'closed' ? 'done' : end.reason, this.multiplexer.highestId, end.text);
    }
    this.unuse();
    this.#cancelRetention?.();
    this.#cancelRetention = undefined;
    this.dropLinks();
    this.events.ending?.(end);
    const unopened = this.#side === 'service' ? this.#takeUnopened(end.reason, highestTaken) : [];
    this.multiplexer.close(end.reason === 'draining' ? 'going_away' : 'reset', end.text);
    this.events.closed(end, unopened);
  }

  #takeUnopened(reason: SessionEnd['reason'], highestTaken = Number.POSITIVE_INFINITY): SessionConnection[] {
    const movesAll = mayMove(reason);
    // A device that forgot the session does not know what it had taken.
    const isCertain = reason === 'draining' || reason === 'too_many';
    const taken: SessionConnection[] = [];
    for (const connection of this.multiplexer.connections) {
      if (!movesAll && connection.id <= highestTaken) continue;
      if (!connection.isUnopened(isCertain ? highestTaken : Number.POSITIVE_INFINITY)) continue;
      connection.isMoving = true;
      taken.push(connection);
    }
    return taken;
  }

  /** Drops every link that is not proven. */
  protected abstract dropLinks(): void;

  // Timers

  /** Begins to count the retention, if it is not counted already. */
  protected watchRetention(): void {
    if (this.#end !== undefined || this.#cancelRetention !== undefined) return;
    const arm = (): void => {
      const left = this.#silence.left(this.retentionSeconds * 1000);
      this.#cancelRetention = this.environment.setTimer(Math.min(Math.max(left, 1), RETENTION_LOOK_MS), () => {
        this.#cancelRetention = undefined;
        if (this.#silence.left(this.retentionSeconds * 1000) <= 0) this.retentionOver();
        else arm();
      });
    };
    arm();
  }

  #watchSilence(): void {
    this.#cancelPing?.();
    const due = this.environment.now() + Math.max(PING_MS * (this.#pings + 1) - this.#silence.ms, 1);
    this.#cancelPing = this.environment.setTimer(due - this.environment.now(), () => {
      this.#cancelPing = undefined;
      this.#checkSilence(this.environment.now() - due > LATE_MS);
    });
  }

  #checkSilence(isLate: boolean): void {
    const link = this.#current;
    if (link === undefined) return;
    const isNeeded = this.multiplexer.size > 0 || !this.multiplexer.isAcknowledged;
    if (isLate || !isNeeded) {
      this.#pings = 0;
      if (this.#silence.ms >= PING_MS) {
        // The next check counts from now.
        this.#silence.heard();
        if (!isLate) this.#quietChecks++;
      }
      if (this.#side === 'device' && this.#quietChecks >= MAX_QUIET_CHECKS) {
        link.drop();
        this.lost(link);
        return;
      }
    } else if (this.#silence.ms >= PING_MS * (this.#pings + 1)) {
      if (this.#pings >= MAX_PINGS) {
        link.drop();
        this.lost(link);
        return;
      }
      this.#pings++;
      link.ping();
    }
    this.#watchSilence();
  }

  #watchIdle(): void {
    const limit = this.#idleMs;
    if (limit === undefined || this.#end !== undefined) return;
    this.#cancelIdle?.();
    this.#cancelIdle = this.environment.setTimer(limit / IDLE_PARTS, () => {
      const hasMoved = this.multiplexer.dataBytes !== this.#dataBytesSeen;
      this.#dataBytesSeen = this.multiplexer.dataBytes;
      this.#idleFor = hasMoved ? 0 : this.#idleFor + limit / IDLE_PARTS;
      if (this.#idleFor < limit) this.#watchIdle();
      else this.finish({ reason: 'idle', text: 'No data was sent for as long as the hub allows.', byPeer: false });
    });
  }
}

/** Whether connections that no service has had anything of may be opened again in another session after this end. */
function mayMove(reason: SessionEnd['reason']): boolean {
  return reason === 'unknown' || reason === 'draining' || reason === 'expired' || reason === 'too_many';
}

const DECODER = new TextDecoder();
