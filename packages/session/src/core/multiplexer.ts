import { ACK_DELAY_MS, AckTiming } from './ack-timing.ts';
import type { Budget } from './budget.ts';
import { type ConnectionEvents, type ConnectionOwner, EARLY_BYTES, SessionConnection } from './connection.ts';
import type { SessionEnvironment } from './environment.ts';
import {
  CONNECTION_REASONS,
  type ConnectionReason,
  connectionReason,
  encodeFrame,
  encodeUint64,
  FRAME,
  HEADER_BYTES,
  IGNORABLE_BIT,
  MAX_PAYLOAD_BYTES,
  MAX_SERVICE_BYTES,
  MAX_TEXT_BYTES,
  readUint32,
  readUint64,
  writeHeader,
  writeUint32,
} from './frame.ts';
import { joinPieces } from './frame-reader.ts';
import { InFlight } from './in-flight.ts';
import { OpenRate } from './open-rate.ts';
import { ReceiveWindows } from './receive-windows.ts';
import { ReplayRing } from './replay-ring.ts';

/** The limits of one session (session design §5 and §6). */
export const SESSION_LIMITS = {
  /** Connections open at once. */
  connections: 1_000,
  /** Bytes of unacknowledged frames at first, and at most. The ring grows when the link's bandwidth × delay needs it. */
  ringBytes: 1_048_576,
  maxRingBytes: 16_777_216,
  /** Bytes of the ring that DATA leaves free, so that control frames can always be sent. */
  controlBytes: 65_536,
  /** Connections whose control frames could not be written yet. More means that the peer causes them faster than it acknowledges them. */
  owing: 2_000,
  /** Bytes of queued texts of refusals; further refusals carry no text. */
  refusalTextBytes: 16_384,
} as const;

/** Bytes passed to the link at once: one WebSocket message. Several would be joined by a copy on their way through TLS. */
const MESSAGE_BYTES = 65_536;
/** Bytes passed to the link that it has not passed on: one message on its way and one that waits for it. More would delay what comes after them. */
const MAX_UNFLUSHED_BYTES = 2 * MESSAGE_BYTES;
/**
 * Payload bytes of DATA while an interactive connection is active, and on links below {@link FAST_BYTES_PER_MS} while several connections send: none
 * should wait for long frames of others.
 */
const SHARED_DATA_BYTES = 16_384;
/** Bytes per millisecond of a link that passes on a full frame in less than 7 ms. */
const FAST_BYTES_PER_MS = 10_000;
/** Milliseconds for which a session counts as interactive after an interactive connection has sent. */
const INTERACTIVE_MS = 1_000;
/** Bytes of interactive connections that may be sent beyond the limit on bytes in flight: they would wait for an acknowledgement otherwise. */
const INTERACTIVE_EXTRA_BYTES = 16_384;
/** The largest connection id; a session that has used it opens no further connections. */
const MAX_CONNECTION_ID = 0x7fffffff;

/** Sends bytes on the current link. The bytes may be views of the ring: `flushed` says that they are no longer needed. */
export interface LinkOutput {
  write(parts: readonly Uint8Array[], flushed: () => void): void;
}

export interface MultiplexerEvents {
  /** Device side: the peer opens a connection. The receiver sets `connection.events`, then accepts or refuses, now or later. */
  opened?(connection: SessionConnection): void;
  /** A connection is gone from the table; `reason` is undefined if both directions had ended. */
  closed?(connection: SessionConnection, reason: ConnectionReason | undefined): void;
  /** Something was acknowledged, or the number of open connections changed. */
  progressed?(): void;
}

export interface MultiplexerOptions {
  readonly side: 'service' | 'device';
  readonly environment: SessionEnvironment;
  readonly budget: Budget;
  readonly events: MultiplexerEvents;
}

/**
 * Many connections in one sequence of bytes: the part of a session that outlives its links. It has one current link, or none; it never sees the
 * frames of other links. Frames enter the ring when they can be sent at once, never without a link: a keystroke would stand behind them
 * afterwards.
 */
export class Multiplexer implements ConnectionOwner {
  readonly #side: 'service' | 'device';
  readonly #environment: SessionEnvironment;
  readonly #events: MultiplexerEvents;
  readonly #budget: Budget;
  readonly #ring = new ReplayRing(SESSION_LIMITS.ringBytes);
  #ringFromBudget = 0;
  readonly #windows: ReceiveWindows;
  readonly #connections = new Map<number, SessionConnection>();
  readonly #openRate: OpenRate;
  #highestId: number;

  /** Connections that owe control frames, in order. */
  readonly #owing = new Set<SessionConnection>();
  /** Answers and resets of connections that are gone from the table. */
  readonly #farewells: Farewell[] = [];
  #farewellTextBytes = 0;
  /** Connections with data within their limit: those with little first, then the others in turn. */
  #interactive: SessionConnection[] = [];
  #bulk: SessionConnection[] = [];
  #interactiveUntil = Number.NEGATIVE_INFINITY;

  #output: LinkOutput | undefined;
  #inFlight: InFlight | undefined;
  #ackTiming: AckTiming | undefined;
  /** Offset up to which the ring was passed to the current link. */
  #cursor = 0;
  #acknowledged = 0;
  /** Offset up to which no link needs the ring's memory any more, if the peer has acknowledged it too. */
  #flushed = 0;
  #linkNumber = 0;
  #unflushed = 0;
  #received = 0;
  #ackedToPeer = 0;
  #cancelAckTimer: (() => void) | undefined;
  #isFlushScheduled = false;
  #isClosed = false;
  /** Frames for connections that are over. */
  droppedFrames = 0;

  constructor({ side, environment, budget, events }: MultiplexerOptions) {
    this.#side = side;
    this.#environment = environment;
    this.#budget = budget;
    this.#events = events;
    this.#windows = new ReceiveWindows(budget);
    this.#openRate = new OpenRate(environment.now);
    this.#highestId = -1;
  }

  /** Offset after the last frame that was received whole. */
  get received(): number {
    return this.#received;
  }

  /** Whether the peer has acknowledged everything that was sent. */
  get isAcknowledged(): boolean {
    return this.#acknowledged === this.#ring.end && this.#owing.size === 0 && this.#farewells.length === 0;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  get size(): number {
    return this.#connections.size;
  }

  get connections(): Iterable<SessionConnection> {
    return this.#connections.values();
  }

  get highestId(): number {
    return Math.max(0, this.#highestId);
  }

  get now(): number {
    return this.#environment.now();
  }

  get roundTripMs(): number | undefined {
    return this.#inFlight?.minRoundTripMs;
  }

  /** Service side: opens a connection to a service of the device. Returns undefined if the session can open no more. */
  open(service: string, name: Uint8Array, events: ConnectionEvents): SessionConnection | undefined {
    const id = this.#highestId + 2;
    const isFull = this.#connections.size >= SESSION_LIMITS.connections || id > MAX_CONNECTION_ID;
    if (this.#isClosed || isFull || name.length > MAX_SERVICE_BYTES) return undefined;
    this.#highestId = id;
    const connection = new SessionConnection(this, id, service, this.#windows.open(), events);
    connection.sendLimit = EARLY_BYTES;
    connection.owesAnswer = true;
    this.#connections.set(id, connection);
    this.#owe(connection);
    this.#events.progressed?.();
    return connection;
  }

  /** Ends all connections and gives all memory back. */
  close(reason: ConnectionReason, text: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.detach();
    for (const connection of [...this.#connections.values()]) this.#remove(connection, reason, text, false);
    this.#budget.give(this.#ringFromBudget);
    this.#ringFromBudget = 0;
    this.#ring.release(this.#ring.end);
    this.#ring.trim();
    this.#owing.clear();
    this.#farewells.length = 0;
  }

  // The link

  /** Whether an end that has received everything before `offset` can be resumed. */
  canResumeAt(offset: number): boolean {
    return offset >= this.#acknowledged && offset <= this.#ring.end;
  }

  /**
   * Makes a link the current one and sends again what the peer has not received.
   * @param peerReceived within {@link canResumeAt}
   */
  attach(output: LinkOutput, peerReceived: number): boolean {
    if (!this.#advance(peerReceived)) return false;
    this.#output = output;
    this.#linkNumber++;
    this.#unflushed = 0;
    this.#cursor = peerReceived;
    this.#flushed = peerReceived;
    this.#inFlight = new InFlight(peerReceived, this.#environment.now);
    this.#ackTiming = new AckTiming(this.#environment.now);
    this.#ackedToPeer = this.#received;
    this.#release();
    this.#scheduleFlush();
    return true;
  }

  /** The current link is gone. Connections and everything unacknowledged stay. */
  detach(): void {
    this.#output = undefined;
    this.#inFlight = undefined;
    this.#cancelAckTimer?.();
    this.#cancelAckTimer = undefined;
    // The former link reads the ring's memory no more.
    this.#flushed = this.#ring.end;
    this.#release();
  }

  /** The peer has acknowledged everything before `offset`. Returns false if that cannot be. */
  acknowledge(offset: number): boolean {
    const before = this.#acknowledged;
    // What lies beyond the cursor was received on a former link; `attach` sends it all the same, and the peer skips it.
    if (!this.#advance(offset)) return false;
    this.#inFlight?.acknowledge(offset);
    this.#release();
    if (offset > before) {
      this.#growRing();
      this.#scheduleFlush();
      this.#events.progressed?.();
    }
    return true;
  }

  #advance(offset: number): boolean {
    if (offset < this.#acknowledged || offset > this.#ring.end) return false;
    // Offsets move by whole frames: walk over them, so that a peer's lie is noticed.
    let at = this.#acknowledged;
    while (at < offset) at = this.#ring.frameEnd(at);
    if (at !== offset) return false;
    this.#acknowledged = offset;
    return true;
  }

  #release(): void {
    const offset = Math.min(this.#acknowledged, this.#flushed);
    if (offset > this.#ring.start) this.#ring.release(offset);
    if (this.#ring.start === this.#ring.end && this.#connections.size === 0) this.#ring.trim();
  }

  /** A counted frame that was not received before. Returns what is wrong with it, if anything. */
  receive(type: number, id: number, length: number, pieces: readonly Uint8Array[]): string | undefined {
    const bytes = HEADER_BYTES + length;
    this.#received += bytes;
    this.#acknowledgeLater(bytes);
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
    if (this.#connections.size > SESSION_LIMITS.connections || !this.#openRate.allows) {
      connection.refuse('too_many');
      return this.#owingFault;
    }
    this.#events.opened?.(connection);
    this.#events.progressed?.();
    return this.#owingFault;
  }

  #receiveData(connection: SessionConnection, length: number, pieces: readonly Uint8Array[]): string | undefined {
    if (connection.peerEnded) return 'DATA after END.';
    // The service side learns the device's bytes only after OPENED.
    if (this.#side === 'service' && connection.isOpening) return 'DATA before OPENED.';
    connection.receivedBytes += length;
    if (!connection.window.receive(length)) {
      this.abort(connection, 'flow_control');
      return this.#owingFault;
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
      connection.isOpening = false;
      connection.sendLimit = Math.max(EARLY_BYTES, readUint32(payload, 0));
      connection.events.opened?.();
      this.wantsToSend(connection);
      return undefined;
    }
    if (payload.length < 1) return 'REFUSED has no reason.';
    this.#remove(connection, connectionReason(payload[0]), DECODER.decode(payload.subarray(1)), true);
    return undefined;
  }

  // What connections ask for

  wantsToSend(connection: SessionConnection): void {
    if (connection.isOver) return;
    if (connection.owesEnd) this.#owe(connection);
    else if (!connection.isQueued && connection.sendable > 0) {
      connection.isQueued = true;
      const { now } = this;
      if (connection.isInteractive(now)) {
        this.#interactive.push(connection);
        this.#interactiveUntil = now + INTERACTIVE_MS;
      } else this.#bulk.push(connection);
    }
    this.#scheduleFlush();
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
    const bytes = truncated(text);
    const fits = this.#farewellTextBytes + bytes.length <= SESSION_LIMITS.refusalTextBytes;
    this.#sayFarewell(connection, FRAME.refused, reason, fits ? bytes : NO_TEXT);
    this.#remove(connection, reason, text, true);
  }

  abort(connection: SessionConnection, reason: ConnectionReason): void {
    // The peer never heard of a connection whose OPEN is still owed.
    const isUnknown = this.#side === 'service' && connection.owesAnswer;
    if (isUnknown) this.#forgetOpen(connection);
    else this.#sayFarewell(connection, FRAME.reset, reason, NO_TEXT);
    this.#remove(connection, reason, '', false);
  }

  /** An id that was used may not be used again, nor may one be left out of order: the next OPEN simply has a higher one. */
  #forgetOpen(connection: SessionConnection): void {
    this.#owing.delete(connection);
  }

  #sayFarewell(connection: SessionConnection, type: number, reason: ConnectionReason, text: Uint8Array): void {
    this.#farewells.push({ type, id: connection.id, reason: CONNECTION_REASONS[reason], text });
    this.#farewellTextBytes += text.length;
    this.#scheduleFlush();
  }

  get #owingFault(): string | undefined {
    const owing = this.#owing.size + this.#farewells.length;
    return owing > SESSION_LIMITS.owing ? 'The peer causes more answers than it acknowledges.' : undefined;
  }

  #owe(connection: SessionConnection): void {
    this.#owing.add(connection);
    this.#scheduleFlush();
  }

  #finishIfEnded(connection: SessionConnection): void {
    if (!connection.peerEnded || !connection.endSent || connection.isOver) return;
    this.#remove(connection, undefined, '', false);
  }

  #remove(connection: SessionConnection, reason: ConnectionReason | undefined, text: string, isRefusal: boolean): void {
    if (connection.isOver) return;
    connection.isOver = true;
    connection.discard();
    connection.window.close();
    this.#owing.delete(connection);
    this.#connections.delete(connection.id);
    if (reason === undefined) connection.events.finished?.();
    else connection.events.aborted(reason, text, isRefusal);
    this.#events.closed?.(connection, reason);
    this.#events.progressed?.();
  }

  // Sending

  #acknowledgeLater(bytes: number): void {
    const unacknowledged = this.#received - this.#ackedToPeer;
    if (this.#ackTiming?.received(bytes, unacknowledged) === true) this.#scheduleFlush();
    else if (this.#cancelAckTimer === undefined && this.#output !== undefined) {
      this.#cancelAckTimer = this.#environment.setTimer(ACK_DELAY_MS, () => {
        this.#cancelAckTimer = undefined;
        this.#scheduleFlush();
      });
    }
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#output === undefined) return;
    this.#isFlushScheduled = true;
    this.#environment.defer(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  /** Passes one message to the link: an acknowledgement first, then what must be replayed, control frames, and data. */
  #flush(): void {
    const output = this.#output;
    if (output === undefined) return;
    if (this.#received > this.#ackedToPeer) output.write([this.#takeAck()], NOTHING);
    while (this.#unflushed < MAX_UNFLUSHED_BYTES) {
      if (this.#cursor === this.#ring.end) this.#fillRing();
      const from = this.#cursor;
      const to = this.#messageEnd();
      if (to === from) return;
      this.#cursor = to;
      this.#inFlight?.sent(to, this.#bulk.length === 0 && this.#interactive.length === 0);
      this.#write(output, this.#ring.slices(from, to), to, to - from);
    }
  }

  #takeAck(): Uint8Array {
    this.#cancelAckTimer?.();
    this.#cancelAckTimer = undefined;
    this.#ackedToPeer = this.#received;
    return encodeFrame(FRAME.ack, 0, encodeUint64(this.#received));
  }

  #write(output: LinkOutput, parts: readonly Uint8Array[], to: number, bytes: number): void {
    const link = this.#linkNumber;
    this.#unflushed += bytes;
    output.write(parts, () => {
      // A former link's memory was given up when it was detached.
      if (link !== this.#linkNumber || this.#output === undefined) return;
      this.#unflushed -= bytes;
      this.#flushed = to;
      this.#release();
      // What came meanwhile waits for the end of the turn only if nothing else would send it.
      if (this.#cursor < this.#ring.end || this.#bulk.length > 0) this.#scheduleFlush();
    });
  }

  /** The end of the whole frames that fit into one message. */
  #messageEnd(): number {
    const { end } = this.#ring;
    if (end - this.#cursor <= MESSAGE_BYTES) return end;
    let to = this.#cursor;
    for (let next = this.#ring.frameEnd(to); next - this.#cursor <= MESSAGE_BYTES; next = this.#ring.frameEnd(to))
      to = next;
    return to;
  }

  #fillRing(): void {
    this.#writeControl();
    // Control frames go before any data: a peer that waits for a limit or an answer must not wait for bulk.
    if (this.#owing.size > 0 || this.#farewells.length > 0) return;
    const hasInteractive = this.now < this.#interactiveUntil;
    const limit = this.#inFlight?.limit(hasInteractive) ?? 0;
    const room = () =>
      Math.min(
        limit - (this.#ring.end - this.#acknowledged),
        this.#ring.free - SESSION_LIMITS.controlBytes,
        MESSAGE_BYTES - (this.#ring.end - this.#cursor),
      );
    this.#sendQueued(this.#interactive, () => room() + INTERACTIVE_EXTRA_BYTES, SHARED_DATA_BYTES);
    const isShared = this.#bulk.length > 1 && (this.#inFlight?.rate ?? 0) < FAST_BYTES_PER_MS;
    const maxBytes = isShared || hasInteractive ? SHARED_DATA_BYTES : MAX_PAYLOAD_BYTES;
    this.#sendQueued(this.#bulk, room, maxBytes);
  }

  #writeControl(): void {
    while (this.#farewells.length > 0 && this.#ring.free >= HEADER_BYTES + 1 + MAX_TEXT_BYTES) {
      const { type, id, reason, text } = this.#farewells.shift() as Farewell;
      this.#farewellTextBytes -= text.length;
      const payload = new Uint8Array(1 + text.length);
      payload[0] = reason;
      payload.set(text, 1);
      this.#append(type, id, payload);
    }
    if (this.#farewells.length > 0) return;
    for (const connection of this.#owing) {
      if (this.#ring.free < MAX_CONTROL_BYTES) return;
      this.#owing.delete(connection);
      this.#writeOwed(connection);
    }
  }

  #writeOwed(connection: SessionConnection): void {
    if (connection.isOver) return;
    if (connection.owesAnswer) {
      connection.owesAnswer = false;
      if (this.#side === 'service') this.#append(FRAME.open, connection.id, openPayload(connection));
      else this.#append(FRAME.opened, connection.id, limitPayload(connection.window.limit));
      connection.owesLimit = false;
    } else if (connection.owesLimit) {
      connection.owesLimit = false;
      this.#append(FRAME.limit, connection.id, encodeUint64(connection.window.limit));
    }
    if (connection.owesEnd && !(this.#side === 'device' && connection.isOpening)) {
      connection.endSent = true;
      this.#append(FRAME.end, connection.id, NO_TEXT);
      this.#finishIfEnded(connection);
    }
  }

  /** Sends in turn one frame of each connection, until there is no room or nothing more to send. */
  #sendQueued(queue: SessionConnection[], room: () => number, maxBytes: number): void {
    let index = 0;
    while (index < queue.length) {
      const connection = queue[index] as SessionConnection;
      const available = connection.isOver ? 0 : connection.sendable;
      if (available > 0) {
        const wanted = frameBytes(available, maxBytes);
        const bytes = Math.min(wanted, room() - HEADER_BYTES);
        // A frame shorter than what could be sent costs more than it gains, except at the very end.
        if (bytes < Math.min(wanted, LEAST_DATA_BYTES)) break;
        this.#sendData(connection, bytes);
      }
      index++;
      if (!connection.isOver && connection.sendable > 0) queue.push(connection);
      else {
        connection.isQueued = false;
        if (connection.owesEnd && !connection.isOver) this.#oweEnd(connection);
      }
    }
    queue.splice(0, index);
  }

  #oweEnd(connection: SessionConnection): void {
    if (this.#ring.free >= MAX_CONTROL_BYTES && !this.#owing.has(connection)) this.#writeOwed(connection);
    else this.#owe(connection);
  }

  #sendData(connection: SessionConnection, bytes: number): void {
    writeHeader(this.#header, 0, FRAME.data, bytes, connection.id);
    this.#ring.append(this.#header);
    connection.take(bytes, (piece) => this.#ring.append(piece));
    connection.drain();
  }

  readonly #header = new Uint8Array(HEADER_BYTES);

  #append(type: number, id: number, payload: Uint8Array): void {
    writeHeader(this.#header, 0, type, payload.length, id);
    this.#ring.append(this.#header);
    this.#ring.append(payload);
  }

  /** Lets the ring grow to twice what the link holds, if memory is free: a full ring must not limit a long link. */
  #growRing(): void {
    const inFlight = this.#inFlight;
    if (inFlight === undefined || this.#ring.free > this.#ring.limit / 4) return;
    const more = this.#ring.limit;
    const wanted = 2 * inFlight.rate * (inFlight.minRoundTripMs ?? 0);
    if (more * 2 > SESSION_LIMITS.maxRingBytes || wanted < more || !this.#budget.take(more)) return;
    this.#ringFromBudget += more;
    this.#ring.limit = more * 2;
  }
}

interface Farewell {
  readonly type: number;
  readonly id: number;
  readonly reason: number;
  readonly text: Uint8Array;
}

/** A connection that is refused at once has no other user. */
const REFUSED_EVENTS: ConnectionEvents = {
  data: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  aborted: () => undefined,
};

/** OPEN with the longest name, LIMIT and END of one connection. */
const MAX_CONTROL_BYTES = 3 * HEADER_BYTES + 4 + MAX_SERVICE_BYTES + 8;

/** A shorter DATA frame is sent only if nothing more is queued. */
const LEAST_DATA_BYTES = 4_096;

/**
 * The payload bytes of the next frame. Sockets are read in pieces of 65,536 bytes, which do not fit into one frame: two equal frames cost less than
 * a full one and one of 8 bytes.
 */
function frameBytes(available: number, maxBytes: number): number {
  if (available <= maxBytes) return available;
  return available >= 2 * maxBytes ? maxBytes : Math.ceil(available / 2);
}

const NOTHING = (): void => undefined;
const NO_TEXT = new Uint8Array(0);
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

function openPayload(connection: SessionConnection): Uint8Array {
  const name = ENCODER.encode(connection.service);
  const payload = new Uint8Array(4 + name.length);
  writeUint32(payload, 0, connection.window.limit);
  payload.set(name, 4);
  return payload;
}

function limitPayload(limit: number): Uint8Array {
  const payload = new Uint8Array(4);
  writeUint32(payload, 0, limit);
  return payload;
}

function truncated(text: string): Uint8Array {
  const bytes = ENCODER.encode(text);
  if (bytes.length <= MAX_TEXT_BYTES) return bytes;
  // At a character's border: bytes 10xxxxxx continue one.
  let end = MAX_TEXT_BYTES;
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.slice(0, end);
}
