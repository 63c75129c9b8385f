import { type ConnectionReason, EMPTY } from './frame.ts';
import type { ReceiveWindow } from './receive-windows.ts';

/** Bytes that a connection's program may write ahead before `write` returns false. */
const WRITE_AHEAD_BYTES = 65_536;

/** Payload bytes that the service side may send before the device has answered OPEN, when its limit is not known. */
export const EARLY_BYTES = 8_192;

/** Bytes: a connection with no more than this to send may be interactive. */
const INTERACTIVE_BYTES = 4_096;
/** It is, unless it sent more than this in the period: a bulk transfer whose queue is short for a moment. */
const INTERACTIVE_PERIOD_BYTES = 65_536;
/** The length of that period. */
const INTERACTIVE_PERIOD_MS = 1_000;

/** What happens to a connection. The methods are called by the session; none may throw. */
export interface ConnectionEvents {
  /** Service side: the device has reached the service. */
  opened?(): void;
  /** Bytes from the peer. The receiver calls `consumed` when its program has taken them. The bytes must not be changed. */
  data(bytes: Uint8Array): void;
  /** The peer's direction has ended; all its bytes were delivered. */
  ended(): void;
  /** `write` returned false before, and there is room again. */
  drained(): void;
  /**
   * The connection is over before both directions had ended. `isRefusal` means that it never was open: the device answered OPEN with a refusal.
   * @param text the device's words; may be empty
   */
  aborted(reason: ConnectionReason, text: string, isRefusal: boolean): void;
  /** Service side: the connection goes on as this one, in another session. What was written is sent there. */
  moved?(connection: SessionConnection): void;
  /** Both directions have ended, and the peer has all bytes or will get them. */
  finished?(): void;
}

/** What a connection asks of its session. */
export interface ConnectionOwner {
  /** The connection has data or an end to send. */
  wantsToSend(connection: SessionConnection): void;
  owesLimit(connection: SessionConnection): void;
  accept(connection: SessionConnection): void;
  abort(connection: SessionConnection, reason: ConnectionReason): void;
  refuse(connection: SessionConnection, reason: ConnectionReason, text: string): void;
  readonly roundTripMs: number | undefined;
  readonly now: number;
}

/** One TCP connection inside a session. */
export class SessionConnection {
  readonly id: number;
  /** The name of the service that it was opened for. */
  readonly service: string;
  readonly window: ReceiveWindow;
  readonly #owner: ConnectionOwner;
  events: ConnectionEvents;
  /** Service side: the device has not answered. Device side: this end has not. */
  isOpening = true;
  /** Service side: its session is over or takes no more, and another is to take it. Until then it keeps what is written. */
  isMoving = false;
  /** How often it has gone to another session. */
  moves = 0;
  isOver = false;
  peerEnded = false;
  /** The program has ended its direction; END may still have to be sent. */
  hasEnded = false;
  endSent = false;

  /** Payload bytes that the peer allows in all. */
  sendLimit = 0;
  /** Payload bytes given to the session's ring. */
  sentBytes = 0;

  /** Written by the program and not yet in the ring. The first chunk may be partly sent. */
  #queue: Uint8Array[] = [];
  #queueHead = 0;
  #firstChunkSent = 0;
  /** Service side: what was sent before the device has answered, at most {@link EARLY_BYTES}. Another session may have to send it. */
  #early: Uint8Array[] = [];
  #keepsEarly = false;
  queuedBytes = 0;
  #needsDrain = false;

  /** Whether the connection is in one of the session's queues. */
  isQueued = false;
  /** Number of the message that last had no room for all of this connection's bytes. */
  filledMessage = -1;
  owesAnswer = false;
  owesLimit = false;
  /** When the period began in which `periodBytes` were sent; see {@link isInteractive}. */
  #periodStart = 0;
  #periodBytes = 0;

  constructor(owner: ConnectionOwner, id: number, service: string, window: ReceiveWindow, events: ConnectionEvents) {
    this.#owner = owner;
    this.id = id;
    this.service = service;
    this.window = window;
    this.events = events;
  }

  /** Sends bytes. They are kept until they are sent, so they must not be changed. Returns false if the program should wait for `drained`. */
  write(bytes: Uint8Array): boolean {
    if ((this.isOver && !this.isMoving) || this.hasEnded) return true;
    if (bytes.length === 0) return !this.#needsDrain;
    this.#queue.push(bytes);
    this.queuedBytes += bytes.length;
    if (!this.isMoving) this.#owner.wantsToSend(this);
    if (this.queuedBytes >= WRITE_AHEAD_BYTES) this.#needsDrain = true;
    return !this.#needsDrain;
  }

  /** Ends this direction after everything that was written. The peer may go on sending. */
  end(): void {
    if ((this.isOver && !this.isMoving) || this.hasEnded) return;
    this.hasEnded = true;
    if (!this.isMoving) this.#owner.wantsToSend(this);
  }

  /** The program has taken this many bytes. */
  consumed(bytes: number): void {
    if (this.isOver || this.peerEnded) return;
    const { now, roundTripMs } = this.#owner;
    if (this.window.consume(bytes, now, roundTripMs)) this.#owner.owesLimit(this);
  }

  /** Device side: the service was reached. */
  accept(): void {
    if (!this.isOver && this.isOpening) this.#owner.accept(this);
  }

  /** Device side: the service was not reached. */
  refuse(reason: ConnectionReason, text = ''): void {
    if (!this.isOver && this.isOpening) this.#owner.refuse(this, reason, text);
  }

  /** Ends both directions at once; what is not sent is dropped. */
  abort(reason: ConnectionReason = 'reset'): void {
    if (!this.isOver) this.#owner.abort(this, reason);
    else if (this.isMoving) {
      this.isMoving = false;
      this.discard();
      this.events.aborted(reason, '', false);
    }
  }

  /** Service side, before anything is sent: keeps what is sent until the device answers. */
  keepEarly(): void {
    this.#keepsEarly = true;
  }

  /** Service side: the device has reached the service. */
  answered(sendLimit: number): void {
    this.isOpening = false;
    this.sendLimit = Math.max(EARLY_BYTES, sendLimit);
    this.#keepsEarly = false;
    this.#early = [];
  }

  /** Service side: takes over from a connection of another session what its program has written. */
  continueFrom(former: SessionConnection): void {
    const [first, ...rest] = former.#queue.slice(former.#queueHead);
    const unsent = first === undefined ? [] : [first.subarray(former.#firstChunkSent), ...rest];
    this.#queue = [...former.#early, ...unsent];
    this.queuedBytes = former.queuedBytes + former.sentBytes;
    this.hasEnded = former.hasEnded;
    this.#needsDrain = former.#needsDrain;
    this.moves = former.moves + 1;
    former.isMoving = false;
    former.discard();
    if (this.queuedBytes > 0 || this.hasEnded) this.#owner.wantsToSend(this);
  }

  /** Payload bytes received. */
  get receivedBytes(): number {
    return this.window.received;
  }

  /** How many bytes may be sent now. */
  get sendable(): number {
    return Math.min(this.queuedBytes, this.sendLimit - this.sentBytes);
  }

  /** Whether END is the next to be sent. */
  get owesEnd(): boolean {
    return this.hasEnded && !this.endSent && this.queuedBytes === 0;
  }

  /**
   * Whether the connection may be opened again elsewhere, since no service can have had anything of it: the device has taken no OPEN of it, or the
   * program has sent nothing.
   * @param highestTaken the highest id of which the device may have taken OPEN
   */
  isUnopened(highestTaken: number): boolean {
    const isUntouched = this.sentBytes === 0 && this.queuedBytes === 0 && !this.hasEnded;
    // Without a link OPEN is owed.
    return this.isOpening && (isUntouched || this.owesAnswer || this.id > highestTaken);
  }

  /** Whether little is queued and little was sent in the last second: a keystroke, a line, a small request. */
  isInteractive(now: number): boolean {
    if (now - this.#periodStart >= INTERACTIVE_PERIOD_MS) {
      this.#periodStart = now;
      this.#periodBytes = 0;
    }
    return this.queuedBytes <= INTERACTIVE_BYTES && this.#periodBytes <= INTERACTIVE_PERIOD_BYTES;
  }

  /** Moves queued bytes into `append`, `bytes` of them. */
  take(bytes: number, append: (piece: Uint8Array) => void): void {
    let left = bytes;
    while (left > 0) {
      const chunk = this.#queue[this.#queueHead] as Uint8Array;
      const from = this.#firstChunkSent;
      const length = Math.min(left, chunk.length - from);
      const piece = from === 0 && length === chunk.length ? chunk : chunk.subarray(from, from + length);
      if (this.#keepsEarly) this.#early.push(piece);
      append(piece);
      left -= length;
      if (from + length === chunk.length) this.#nextChunk();
      else this.#firstChunkSent = from + length;
    }
    this.queuedBytes -= bytes;
    this.sentBytes += bytes;
    this.#periodBytes += bytes;
  }

  /** Tells the program that there is room again, if it waits for it. */
  drain(): void {
    if (!this.#needsDrain || this.queuedBytes >= WRITE_AHEAD_BYTES) return;
    this.#needsDrain = false;
    if (!this.isOver) this.events.drained();
  }

  /** Forgets what is queued. */
  discard(): void {
    this.#queue = [];
    this.#early = [];
    this.#queueHead = 0;
    this.#firstChunkSent = 0;
    this.queuedBytes = 0;
  }

  #nextChunk(): void {
    this.#queue[this.#queueHead++] = EMPTY;
    this.#firstChunkSent = 0;
    if (this.#queueHead === this.#queue.length) {
      this.#queue.length = 0;
      this.#queueHead = 0;
    } else if (this.#queueHead >= COMPACT_AT) {
      this.#queue.splice(0, this.#queueHead);
      this.#queueHead = 0;
    }
  }
}

/** Sent chunks are removed from the front of the queue in batches of this many. */
const COMPACT_AT = 64;
