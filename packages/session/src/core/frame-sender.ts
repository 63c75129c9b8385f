import { Acknowledgements } from './acknowledgements.ts';
import type { Budget } from './budget.ts';
import type { SessionConnection } from './connection.ts';
import type { FrameSink } from './control-queue.ts';
import type { DataSink } from './data-queues.ts';
import type { SessionEnvironment } from './environment.ts';
import { FRAME, HEADER_BYTES, writeHeader } from './frame.ts';
import { joinPieces } from './frame-reader.ts';
import { FAST_BYTES_PER_MS, InFlight } from './in-flight.ts';
import { ReplayRing } from './replay-ring.ts';

/** Bytes of unacknowledged frames at first. The ring grows when the link's bandwidth × delay needs it. */
const RING_BYTES = 1_048_576;
/** The same at most. */
export const MAX_RING_BYTES = 16_777_216;
/** Bytes of the ring that DATA leaves free, so that control frames can always be sent. */
const CONTROL_BYTES = 65_536;
/** Messages passed to the link that it has not passed on: one on its way and one that waits for it. More would delay what comes after them. */
const MAX_UNFLUSHED_MESSAGES = 2;
/** Writes passed to the link that it has not passed on, however short: a peer that sends and never reads would collect acknowledgements here. */
const MAX_UNFLUSHED_WRITES = 1_024;
/** Bytes sent on a link before the peer has acknowledged any of them: it may still be verifying the proof, and holds 1 MiB meanwhile (`link.ts`). */
const MAX_UNANSWERED_BYTES = 524_288;
/** Bytes up to which the parts of a message are copied into one. */
const JOINED_BYTES = 8_192;

/** Sends bytes on the current link. The bytes may be views of the ring: `flushed` says that they are no longer needed. */
export interface LinkOutput {
  /** Bytes to pass to the link at once: one WebSocket message. Several would be joined by a copy on their way through TLS. */
  readonly messageBytes: number;
  write(parts: readonly Uint8Array[], flushed: () => void): void;
}

/** What there is to send. */
export interface FrameSource {
  /** Whether nothing more waits to be written. */
  readonly isEmpty: boolean;
  /** Writes frames while there is room. */
  fill(sender: FrameSender): void;
}

/**
 * Sends a session's counted frames on its current link: it keeps them until they are acknowledged, sends them again on the next link, limits what is
 * in flight, and says what was received. Frames are written only when they can be sent at once, never without a link: a keystroke would stand
 * behind them afterwards.
 */
export class FrameSender implements FrameSink, DataSink {
  readonly #environment: SessionEnvironment;
  readonly #source: FrameSource;
  readonly #budget: Budget;
  readonly #ring: ReplayRing;
  #ringFromBudget = 0;
  readonly acknowledgements: Acknowledgements;

  #output: LinkOutput | undefined;
  #messageBytes = 0;
  #linkNumber = 0;
  #inFlight: InFlight | undefined;
  /** Offset up to which the ring was passed to the current link. */
  #cursor = 0;
  #acknowledged = 0;
  /** What was acknowledged when the current link began. */
  #attachedAt = 0;
  /** Offset up to which no link needs the ring's memory any more, if the peer has acknowledged it too. */
  #flushed = 0;
  #unflushed = 0;
  #unflushedWrites = 0;
  #isFlushScheduled = false;
  #message = 0;
  /** Payload bytes of DATA that were written, of all connections. */
  dataBytes = 0;
  readonly #header = new Uint8Array(HEADER_BYTES);

  constructor(environment: SessionEnvironment, budget: Budget, source: FrameSource) {
    this.#environment = environment;
    this.#budget = budget;
    this.#ring = new ReplayRing(RING_BYTES, budget);
    this.#source = source;
    this.acknowledgements = new Acknowledgements(environment, () => this.schedule());
  }

  /** Offset up to which the peer has acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether the peer has acknowledged everything that was written. */
  get isAcknowledged(): boolean {
    return this.#acknowledged === this.#ring.end;
  }

  /** The least round trip of the link; undefined if it was not measured, or without a link. */
  get roundTripMs(): number | undefined {
    return this.#inFlight?.minRoundTripMs;
  }

  get rate(): number {
    return this.#inFlight?.rate ?? 0;
  }

  get message(): number {
    return this.#message;
  }

  get isBusy(): boolean {
    return this.#unflushed > 0;
  }

  get free(): number {
    return this.#ring.free;
  }

  room(limit: number): number {
    return Math.min(
      limit - (this.#ring.end - this.#acknowledged),
      this.#ring.free - CONTROL_BYTES,
      this.#messageBytes - (this.#ring.end - this.#cursor),
    );
  }

  inFlightLimit(hasInteractive: boolean): number {
    return this.#inFlight?.limit(hasInteractive) ?? 0;
  }

  // The link

  /**
   * Makes a link the current one and sends again what the peer has not received.
   * @param peerReceived the `received` in the peer's HELLO
   * @param announced the `received` in this end's HELLO on the link; what a former link has delivered since then is acknowledged at once
   * @returns false, and nothing has changed, if the peer cannot have received that: it goes back, beyond what was sent, or into a frame
   */
  attach(output: LinkOutput, peerReceived: number, announced: number): boolean {
    if (!this.#advance(peerReceived)) return false;
    this.#output = output;
    this.#messageBytes = output.messageBytes;
    this.#linkNumber++;
    this.#unflushed = 0;
    this.#unflushedWrites = 0;
    this.#attachedAt = peerReceived;
    this.#cursor = peerReceived;
    this.#flushed = peerReceived;
    this.#inFlight = new InFlight(peerReceived, this.#environment.now);
    this.acknowledgements.attach(announced);
    this.#release();
    this.schedule();
    return true;
  }

  /** The current link is gone. Everything unacknowledged stays. */
  detach(): void {
    this.#output = undefined;
    this.#inFlight = undefined;
    this.acknowledgements.detach();
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
      this.schedule();
    }
    return true;
  }

  /** Gives all memory back. */
  close(): void {
    this.detach();
    this.#budget.give(this.#ringFromBudget);
    this.#ringFromBudget = 0;
    this.#ring.release(this.#ring.end);
    this.#ring.trim();
  }

  /** Gives back the ring's memory if it holds nothing. It will be needed again as soon as a connection sends. */
  trim(): void {
    if (this.#ring.start === this.#ring.end) this.#ring.trim();
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
  }

  /** Lets the ring grow to twice what the link holds, if memory is free: a full ring must not limit a long link. */
  #growRing(): void {
    const inFlight = this.#inFlight;
    if (inFlight === undefined || this.#ring.free > this.#ring.limit / 4) return;
    const more = this.#ring.limit;
    const wanted = 2 * inFlight.rate * (inFlight.minRoundTripMs ?? 0);
    if (more * 2 > MAX_RING_BYTES || wanted < more || !this.#budget.take(more)) return;
    this.#ringFromBudget += more;
    this.#ring.limit = more * 2;
  }

  // Frames

  append(type: number, id: number, payload: Uint8Array): void {
    writeHeader(this.#header, 0, type, payload.length, id);
    this.#ring.append(this.#header);
    this.#ring.append(payload);
  }

  writeData(connection: SessionConnection, bytes: number): void {
    writeHeader(this.#header, 0, FRAME.data, bytes, connection.id);
    this.#ring.append(this.#header);
    this.dataBytes += bytes;
    connection.take(bytes, (piece) => this.#ring.append(piece));
    connection.drain();
  }

  // Messages

  /** There is something to send. All that this turn of the event loop brings goes into one message. */
  schedule(): void {
    if (this.#isFlushScheduled || this.#output === undefined) return;
    this.#isFlushScheduled = true;
    this.#environment.defer(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  /** Passes messages to the link: an acknowledgement first, then what must be sent again, control frames, and data. */
  #flush(): void {
    const output = this.#output;
    if (output === undefined) return;
    if (this.#unflushedWrites >= MAX_UNFLUSHED_WRITES) return;
    this.#message++;
    this.#sendMessages(output);
    if (this.acknowledgements.isDue) this.#write(output, [this.acknowledgements.take()], this.#cursor, 0);
  }

  #sendMessages(output: LinkOutput): void {
    const { acknowledgements } = this;
    while (this.#unflushed < MAX_UNFLUSHED_MESSAGES * this.#messageBytes) {
      if (this.#cursor === this.#ring.end) this.#source.fill(this);
      const from = this.#cursor;
      const to = this.#messageEnd();
      if (to === from) return;
      this.#cursor = to;
      this.#inFlight?.sent(to, this.#source.isEmpty);
      const parts = this.#ring.slices(from, to);
      // A copy of few bytes costs less than a message of its own; on a slow link frequent acknowledgements keep what is in flight low.
      const joins = acknowledgements.isOwed && (this.rate < FAST_BYTES_PER_MS || to - from <= JOINED_BYTES);
      // It must not stand behind a long message: the peer's data waits for it.
      if (acknowledgements.isDue && !joins) this.#write(output, [acknowledgements.take()], from, 0);
      this.#write(output, joins ? [concatenate([acknowledgements.take(), ...parts])] : parts, to, to - from);
    }
  }

  #write(output: LinkOutput, parts: readonly Uint8Array[], to: number, bytes: number): void {
    const link = this.#linkNumber;
    this.#unflushed += bytes;
    this.#unflushedWrites++;
    output.write(parts, () => {
      // A former link's memory was given up when it was detached.
      if (link !== this.#linkNumber || this.#output === undefined) return;
      this.#unflushed -= bytes;
      this.#unflushedWrites--;
      this.#flushed = to;
      this.#release();
      // What waits for room in the link; what waits for an acknowledgement is sent when that comes.
      const waits = this.#cursor < this.#ring.end || !this.#source.isEmpty || this.acknowledgements.isDue;
      if (waits) this.schedule();
    });
  }

  /** The end of the whole frames that are passed to the link with the next message. */
  #messageEnd(): number {
    const isAnswered = this.#acknowledged > this.#attachedAt;
    if (!isAnswered && this.#cursor - this.#attachedAt >= MAX_UNANSWERED_BYTES) return this.#cursor;
    const { end } = this.#ring;
    const most = this.#cursor + this.#messageBytes;
    if (end <= most) return end;
    let to = this.#ring.frameEnd(this.#cursor);
    for (let next = this.#ring.frameEnd(to); next <= most; next = this.#ring.frameEnd(to)) to = next;
    return to;
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  return joinPieces(
    parts.reduce((sum, part) => sum + part.length, 0),
    parts,
  );
}
