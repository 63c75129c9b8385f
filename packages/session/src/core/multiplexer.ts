import type { Budget } from './budget.ts';
import { type ConnectionEvents, type ConnectionOwner, EARLY_BYTES, SessionConnection } from './connection.ts';
import { ControlQueue } from './control-queue.ts';
import { DataQueues } from './data-queues.ts';
import type { SessionEnvironment } from './environment.ts';
import {
  type ConnectionReason,
  connectionReason,
  FRAME,
  HEADER_BYTES,
  IGNORABLE_BIT,
  MAX_SERVICE_BYTES,
  MAX_TEXT_BYTES,
  readUint32,
  readUint64,
} from './frame.ts';
import { joinPieces } from './frame-reader.ts';
import { FrameSender, type FrameSource, type LinkOutput } from './frame-sender.ts';
import { OpenRate } from './open-rate.ts';
import { ReceiveWindows } from './receive-windows.ts';

/** Connections of one session that may be open at once. */
export const MAX_CONNECTIONS = 1_000;
/** The largest connection id; a session that has used it opens no further connections. */
const MAX_CONNECTION_ID = 0x7fffffff;

/** What happens to connections. Nothing is called after {@link Multiplexer.close}. */
export interface MultiplexerEvents {
  /** Device side: the peer opens a connection. The receiver sets `connection.events`, then accepts or refuses, now or later. */
  opened?(connection: SessionConnection): void;
  /** A connection is gone from the table; `reason` is undefined if both directions had ended. */
  closed?(connection: SessionConnection, reason: ConnectionReason | undefined): void;
  /** Service side: the device refuses a connection since it is about to stop. Returns whether it is to go to another session. */
  turnedAway?(connection: SessionConnection): boolean;
  /** Something was acknowledged, or the number of open connections changed. */
  progressed?(): void;
}

/** What a multiplexer is made of. */
export interface MultiplexerOptions {
  readonly side: 'service' | 'device';
  readonly environment: SessionEnvironment;
  readonly budget: Budget;
  readonly events: MultiplexerEvents;
}

/**
 * Many connections in one sequence of bytes: the part of a session that outlives its links. It has one current link, or none; it never sees the
 * frames of other links.
 */
export class Multiplexer implements ConnectionOwner, FrameSource {
  readonly #side: 'service' | 'device';
  readonly #environment: SessionEnvironment;
  readonly #events: MultiplexerEvents;
  readonly #sender: FrameSender;
  readonly #control: ControlQueue;
  readonly #data: DataQueues;
  readonly #windows: ReceiveWindows;
  readonly #connections = new Map<number, SessionConnection>();
  readonly #openRate: OpenRate;
  #highestId = -1;
  #isClosed = false;
  #receivedDataBytes = 0;
  /** Frames for connections that are over. */
  droppedFrames = 0;

  constructor({ side, environment, budget, events }: MultiplexerOptions) {
    this.#side = side;
    this.#environment = environment;
    this.#events = events;
    this.#sender = new FrameSender(environment, budget, this);
    this.#control = new ControlQueue(side, (connection) => this.#finishIfEnded(connection));
    this.#data = new DataQueues(environment.now);
    this.#windows = new ReceiveWindows(budget);
    this.#openRate = new OpenRate(environment.now);
  }

  /** Offset after the last frame that was received whole. */
  get received(): number {
    return this.#sender.acknowledgements.received;
  }

  /** Whether the peer has acknowledged everything that was sent. */
  get isAcknowledged(): boolean {
    return this.#sender.isAcknowledged && this.#control.isEmpty;
  }

  get acknowledged(): number {
    return this.#sender.acknowledged;
  }

  /** Payload bytes of DATA that were sent or received, of all connections. */
  get dataBytes(): number {
    return this.#receivedDataBytes + this.#sender.dataBytes;
  }

  get size(): number {
    return this.#connections.size;
  }

  get connections(): Iterable<SessionConnection> {
    return this.#connections.values();
  }

  /** Connections in the queues of those that have data to send, some of which may be over. */
  get queued(): number {
    return this.#data.length;
  }

  get highestId(): number {
    return Math.max(0, this.#highestId);
  }

  get now(): number {
    return this.#environment.now();
  }

  get roundTripMs(): number | undefined {
    return this.#sender.roundTripMs;
  }

  /**
   * Service side: opens a connection to a service of the device. Returns undefined if the session can open no more.
   * @param former the connection of another session that goes on as this one
   */
  open(
    service: string,
    name: Uint8Array,
    events: ConnectionEvents,
    former?: SessionConnection,
  ): SessionConnection | undefined {
    const id = this.#highestId + 2;
    const isFull = this.#connections.size >= MAX_CONNECTIONS || id > MAX_CONNECTION_ID;
    if (this.#isClosed || isFull || name.length > MAX_SERVICE_BYTES) return undefined;
    this.#highestId = id;
    const connection = new SessionConnection(this, id, service, this.#windows.open(), events);
    connection.sendLimit = EARLY_BYTES;
    connection.owesAnswer = true;
    connection.keepEarly();
    this.#connections.set(id, connection);
    this.#owe(connection);
    if (former !== undefined) connection.continueFrom(former);
    this.#events.progressed?.();
    return connection;
  }

  /** Ends all connections and gives all memory back. */
  close(reason: ConnectionReason, text: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.detach();
    for (const connection of [...this.#connections.values()]) this.#remove(connection, reason, text, false);
    this.#sender.close();
    this.#control.clear();
    this.#data.clear();
  }

  // The link

  /** See {@link FrameSender.attach}. */
  attach(output: LinkOutput, peerReceived: number, announced: number): boolean {
    return this.#sender.attach(output, peerReceived, announced);
  }

  /** The current link is gone. Connections and everything unacknowledged stay. */
  detach(): void {
    this.#sender.detach();
    this.#trim();
  }

  /** The peer has acknowledged everything before `offset`. Returns false if that cannot be. */
  acknowledge(offset: number): boolean {
    const before = this.#sender.acknowledged;
    if (!this.#sender.acknowledge(offset)) return false;
    this.#trim();
    if (offset > before) this.#events.progressed?.();
    return true;
  }

  #trim(): void {
    if (this.#connections.size === 0) this.#sender.trim();
  }

  /** A counted frame that was not received before. Returns what is wrong with it, if anything. */
  receive(type: number, id: number, length: number, pieces: readonly Uint8Array[]): string | undefined {
    this.#sender.acknowledgements.receive(HEADER_BYTES + length);
    if (type === FRAME.open) return this.#receiveOpen(id, joinPieces(length, pieces));
    const isKnownType = type > FRAME.open && type <= FRAME.limit;
    if (!isKnownType) return (type & IGNORABLE_BIT) === 0 ? `The frame has the unknown type ${type}.` : undefined;
    if (type === FRAME.data ? length === 0 : length > 1 + MAX_TEXT_BYTES) return 'The frame has a wrong length.';
    const connection = this.#connections.get(id);
    if (connection === undefined) {
      if (id === 0 || id % 2 === 0 || id > this.#highestId)
        return 'The frame is for a connection that was never opened.';
      this.droppedFrames++;
      return undefined;
    }
    if (type === FRAME.data) return this.#receiveData(connection, length, pieces);
    return this.#receiveControl(connection, type, joinPieces(length, pieces));
  }

  #receiveOpen(id: number, payload: Uint8Array): string | undefined {
    if (this.#side !== 'device') return 'OPEN is for the service side to send.';
    if (id % 2 === 0 || id <= this.#highestId || id > MAX_CONNECTION_ID) return 'OPEN has a wrong connection id.';
    if (payload.length < 4 || payload.length > 4 + MAX_SERVICE_BYTES) return 'OPEN has a wrong length.';
    this.#highestId = id;
    const service = DECODER.decode(payload.subarray(4));
    const connection = new SessionConnection(this, id, service, this.#windows.open(), REFUSED_EVENTS);
    connection.sendLimit = readUint32(payload, 0);
    this.#connections.set(id, connection);
    if (this.#connections.size > MAX_CONNECTIONS || !this.#openRate.allows) {
      connection.refuse('too_many');
      return this.#control.fault;
    }
    this.#events.opened?.(connection);
    this.#events.progressed?.();
    return this.#control.fault;
  }

  #receiveData(connection: SessionConnection, length: number, pieces: readonly Uint8Array[]): string | undefined {
    if (connection.peerEnded) return 'DATA after END.';
    // The service side learns the device's bytes only after OPENED.
    if (this.#side === 'service' && connection.isOpening) return 'DATA before OPENED.';
    this.#receivedDataBytes += length;
    if (!connection.window.receive(length)) {
      this.abort(connection, 'flow_control');
      return this.#control.fault;
    }
    for (const piece of pieces) {
      if (connection.isOver) break;
      connection.events.data(piece);
    }
    return undefined;
  }

  #receiveControl(connection: SessionConnection, type: number, payload: Uint8Array): string | undefined {
    if (type === FRAME.end) {
      if (payload.length !== 0 || connection.peerEnded) return 'END has a payload, or is repeated.';
      if (this.#side === 'service' && connection.isOpening) return 'END before OPENED.';
      connection.peerEnded = true;
      connection.events.ended();
      this.#finishIfEnded(connection);
      return undefined;
    }
    if (type === FRAME.limit) {
      if (payload.length !== 8) return 'LIMIT has a wrong length.';
      const limit = readUint64(payload, 0);
      if (limit < connection.sendLimit) return 'LIMIT goes back.';
      connection.sendLimit = limit;
      this.wantsToSend(connection);
      return undefined;
    }
    if (type === FRAME.reset) {
      if (payload.length < 1) return 'RESET has no reason.';
      if (this.#side === 'device' && connection.isOpening) this.#openRate.wasReset();
      this.#remove(connection, connectionReason(payload[0]), '', false);
      return undefined;
    }
    if (this.#side === 'device' || !connection.isOpening) return 'OPENED or REFUSED is not expected.';
    if (type === FRAME.opened) {
      if (payload.length !== 4) return 'OPENED has a wrong length.';
      connection.answered(readUint32(payload, 0));
      connection.events.opened?.();
      this.wantsToSend(connection);
      return undefined;
    }
    if (payload.length < 1) return 'REFUSED has no reason.';
    const reason = connectionReason(payload[0]);
    if (reason === 'going_away') connection.isMoving = this.#events.turnedAway?.(connection) === true;
    this.#remove(connection, reason, DECODER.decode(payload.subarray(1)), true);
    return undefined;
  }

  // What connections ask for

  wantsToSend(connection: SessionConnection): void {
    // The peer may not learn anything of a connection that was not accepted.
    if (connection.isOver || (this.#side === 'device' && connection.isOpening)) return;
    if (connection.owesEnd) this.#control.owe(connection);
    else if (connection.sendable > 0) this.#data.add(connection, this.#connections.size);
    this.#sender.schedule();
  }

  owesLimit(connection: SessionConnection): void {
    connection.owesLimit = true;
    this.#owe(connection);
  }

  accept(connection: SessionConnection): void {
    connection.isOpening = false;
    connection.owesAnswer = true;
    this.#owe(connection);
    this.wantsToSend(connection);
  }

  refuse(connection: SessionConnection, reason: ConnectionReason, text: string): void {
    this.#control.refuse(connection.id, reason, text);
    this.#sender.schedule();
    this.#remove(connection, reason, text, true);
  }

  abort(connection: SessionConnection, reason: ConnectionReason): void {
    // The peer never heard of a connection whose OPEN is still owed: the next OPEN simply has a higher id.
    const isUnknown = this.#side === 'service' && connection.owesAnswer;
    if (!isUnknown) {
      this.#control.reset(connection.id, reason);
      this.#sender.schedule();
    }
    this.#remove(connection, reason, '', false);
  }

  #owe(connection: SessionConnection): void {
    this.#control.owe(connection);
    this.#sender.schedule();
  }

  #finishIfEnded(connection: SessionConnection): void {
    if (!connection.peerEnded || !connection.endSent || connection.isOver) return;
    this.#remove(connection, undefined, '', false);
  }

  #remove(connection: SessionConnection, reason: ConnectionReason | undefined, text: string, isRefusal: boolean): void {
    if (connection.isOver) return;
    connection.isOver = true;
    if (!connection.isMoving) connection.discard();
    connection.window.close();
    this.#control.forget(connection);
    this.#connections.delete(connection.id);
    if (reason === undefined) connection.events.finished?.();
    else if (!connection.isMoving) connection.events.aborted(reason, text, isRefusal);
    this.#events.closed?.(connection, reason);
    this.#events.progressed?.();
  }

  // What the sender asks for

  get isEmpty(): boolean {
    return this.#data.length === 0 && this.#control.isEmpty;
  }

  fill(sender: FrameSender): void {
    this.#control.write(sender);
    // Control frames go before any data: a peer that waits for a limit or an answer must not wait for bulk.
    if (!this.#control.isEmpty) return;
    this.#data.write(sender, (connection) => {
      if (connection.owesEnd && !connection.isOver) this.#control.writeEnd(connection, sender);
    });
  }
}

/** A connection that is refused at once has no other user. */
const REFUSED_EVENTS: ConnectionEvents = {
  data: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  aborted: () => undefined,
};

const DECODER = new TextDecoder();
