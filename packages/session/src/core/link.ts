import type { SessionEnvironment } from './environment.ts';
import {
  BYE_FIXED_BYTES,
  EMPTY,
  encodeBye,
  encodeFrame,
  encodeUint64,
  FRAME,
  HEADER_BYTES,
  IGNORABLE_BIT,
  type SessionReason,
  UNCOUNTED_BIT,
} from './frame.ts';
import { FrameReader, joinPieces } from './frame-reader.ts';
import type { LinkOutput } from './frame-sender.ts';
import { type Hello, MAX_HELLO_BYTES, PROOF_BYTES, parseHello } from './hello.ts';

/** One device stream, or the TLS connection inside it, as a link of a session. */
export interface LinkTransport {
  /** Sends bytes. They may be views of a buffer that changes after `flushed` was called. */
  write(parts: readonly Uint8Array[], flushed: () => void): void;
  /** Closes after everything that was written. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
  /** What both ends of this link derive from its TLS connection and nobody else knows; empty without end-to-end encryption. */
  readonly binding: Uint8Array;
}

/** Bytes that a peer may send on a link before it has proved to know the session. */
const MAX_BYTES_BEFORE_PROOF = 65_536;
/** Bytes kept while a proof is being verified. */
const MAX_HELD_BYTES = 1_048_576;
/** Bytes of one WebSocket message, and of what TLS makes one of: each 16 KiB become a record, with 22 bytes more (RFC 8446 §5.2). */
const MESSAGE_BYTES = 65_536;
const ENCRYPTED_MESSAGE_BYTES = MESSAGE_BYTES - 4 * 22;
/** Milliseconds between answers to PING; more questions are not answered. */
const PONG_INTERVAL_MS = 100;

/** What happens on a link. Nothing is called after {@link Link.bye}, {@link Link.drop} or `lost`. */
export interface LinkEvents {
  hello(link: Link, hello: Hello): void;
  proof(link: Link, proof: Uint8Array): void;
  /** A counted frame that has not been received before on any link. */
  counted(
    link: Link,
    type: number,
    connection: number,
    length: number,
    pieces: readonly Uint8Array[],
  ): string | undefined;
  acknowledged(link: Link, offset: Uint8Array): string | undefined;
  bye(link: Link, payload: Uint8Array): void;
  /** Bytes were received. */
  heard(link: Link): void;
  /** The peer broke the protocol. The receiver decides what that ends. */
  violation(link: Link, text: string): void;
  /** The link is gone. */
  lost(link: Link): void;
}

/** The protocol of one link: HELLO and PROOF before anything else, then frames, of which those are skipped that a former link had delivered. */
export class Link implements LinkOutput {
  readonly #transport: LinkTransport;
  readonly #environment: SessionEnvironment;
  #events: LinkEvents;
  readonly #side: 'service' | 'device';
  readonly #reader = new FrameReader((type, connection, length, pieces) =>
    this.#receive(type, connection, length, pieces),
  );
  #bytes = 0;
  #held: Uint8Array[] | undefined;
  #heldBytes = 0;
  #pongAt = Number.NEGATIVE_INFINITY;
  #isPongUnflushed = false;
  #isOver = false;
  /** The transport is gone, and what it had received before is held. */
  #isLostBehindHeld = false;
  #isProofAwaited = false;
  /** BYE, which waits for PROOF. */
  #byeBehindProof: Uint8Array | undefined;
  isProven = false;
  /** The number in HELLO. */
  number = 0;
  /** Offset of the next counted frame of the peer on this link: it counts from the `received` that this end wrote into its HELLO. */
  position = 0;
  /** Offset up to which this end had received everything; asked for when a counted frame arrives. */
  received: () => number = () => 0;
  ownHello: Uint8Array = EMPTY;
  peerHelloFrame: Uint8Array = EMPTY;
  peerHello: Hello | undefined;

  /** @param side this end */
  constructor(
    side: 'service' | 'device',
    transport: LinkTransport,
    environment: SessionEnvironment,
    events: LinkEvents,
  ) {
    this.#side = side;
    this.#transport = transport;
    this.#environment = environment;
    this.#events = events;
  }

  get binding(): Uint8Array {
    return this.#transport.binding;
  }

  get isEncrypted(): boolean {
    return this.#transport.binding.length > 0;
  }

  get messageBytes(): number {
    return this.isEncrypted ? ENCRYPTED_MESSAGE_BYTES : MESSAGE_BYTES;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Replaces the receiver of events. */
  handOver(events: LinkEvents): void {
    this.#events = events;
  }

  /** The transport received bytes. They are kept as long as they are needed, so they must not be changed. */
  receive(chunk: Uint8Array): void {
    if (this.#isOver) return;
    if (this.#held !== undefined) {
      this.#heldBytes += chunk.length;
      if (this.#heldBytes > MAX_HELD_BYTES) this.#events.violation(this, 'Too many bytes while the proof is verified.');
      else this.#held.push(chunk);
      return;
    }
    this.#events.heard(this);
    this.#bytes += chunk.length;
    if (!this.isProven && this.#bytes > MAX_BYTES_BEFORE_PROOF + chunk.length) {
      this.#events.violation(this, 'Too many bytes before the proof.');
    } else if (!this.#reader.push(chunk)) this.#events.violation(this, 'A frame is longer than allowed.');
  }

  /** The transport is closed or has failed. What is held is read first: a BYE may be in it. */
  lost(): void {
    if (this.#isOver) return;
    if (this.#held !== undefined) {
      this.#isLostBehindHeld = true;
      return;
    }
    this.#stop();
    this.#events.lost(this);
  }

  /** Keeps what arrives until {@link release}, also the frames behind the one that is being delivered. */
  hold(): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#reader.hold();
  }

  /** Reads on, if the link is held. */
  release(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    if (!this.#reader.release()) this.#events.violation(this, 'A frame is longer than allowed.');
    for (const chunk of held) this.receive(chunk);
    if (this.#isLostBehindHeld) this.lost();
  }

  write(parts: readonly Uint8Array[], flushed: () => void): void {
    if (!this.#isOver) this.#transport.write(parts, flushed);
  }

  send(frame: Uint8Array): void {
    this.write([frame], NOTHING);
  }

  ping(): void {
    this.send(encodeFrame(FRAME.ping, 0, encodeUint64(Math.floor(this.#environment.now()))));
  }

  /** PROOF is being made and will be given to {@link sendProof}. BYE waits for it: the peer believes only an end that has proved itself. */
  awaitProof(): void {
    this.#isProofAwaited = true;
  }

  /** Sends PROOF, and BYE if it was waiting. Sends nothing if the link is lost or was dropped. */
  sendProof(mac: Uint8Array): void {
    this.#isProofAwaited = false;
    const bye = this.#byeBehindProof;
    if (this.#isOver && bye === undefined) return;
    this.#transport.write([encodeFrame(FRAME.proof, 0, mac)], NOTHING);
    if (bye !== undefined) this.#leave(bye);
  }

  /** Sends BYE and closes the link after everything that was written. */
  bye(reason: SessionReason, highestId: number, text: string): void {
    if (this.#isOver) return;
    const frame = encodeBye(reason, highestId, text);
    this.#stop();
    if (this.#isProofAwaited) this.#byeBehindProof = frame;
    else this.#leave(frame);
  }

  #leave(bye: Uint8Array): void {
    this.#transport.write([bye], NOTHING);
    this.#transport.end();
  }

  /** Closes the link at once, without a word. */
  drop(): void {
    if (this.#isOver) return;
    this.#stop();
    this.#transport.destroy();
  }

  #stop(): void {
    this.#isOver = true;
    this.#held = undefined;
    this.#reader.stop();
  }

  #receive(type: number, connection: number, length: number, pieces: readonly Uint8Array[]): void {
    const fault =
      (type & UNCOUNTED_BIT) === 0
        ? this.#receiveCounted(type, connection, length, pieces)
        : this.#receiveUncounted(type, connection, length, pieces);
    if (fault !== undefined && !this.#isOver) this.#events.violation(this, fault);
  }

  #receiveCounted(type: number, connection: number, length: number, pieces: readonly Uint8Array[]): string | undefined {
    if (!this.isProven) return 'A frame before the proof.';
    const end = this.position + HEADER_BYTES + length;
    const received = this.received();
    if (this.position < received) {
      // A former link has delivered it since this end's HELLO.
      this.position = end;
      return end > received ? 'A repeated frame has another length.' : undefined;
    }
    this.position = end;
    return this.#events.counted(this, type, connection, length, pieces);
  }

  #receiveUncounted(
    type: number,
    connection: number,
    length: number,
    pieces: readonly Uint8Array[],
  ): string | undefined {
    if (connection !== 0) return undefined;
    if (type === FRAME.hello) return this.#receiveHello(length, pieces);
    if (type === FRAME.bye) {
      if (length < BYE_FIXED_BYTES) return 'BYE is too short.';
      this.#events.bye(this, joinPieces(length, pieces));
      return undefined;
    }
    if (type === FRAME.proof) {
      if (length !== PROOF_BYTES || this.peerHello === undefined || (this.isProven && this.#side === 'device'))
        return 'PROOF is not expected.';
      this.#events.proof(this, joinPieces(length, pieces).slice());
      return undefined;
    }
    if (type !== FRAME.ack && type !== FRAME.ping && type !== FRAME.pong) {
      const isIgnorable = (type & IGNORABLE_BIT) !== 0;
      return isIgnorable ? undefined : `The frame has the unknown type ${type}.`;
    }
    if (!this.isProven) return 'A frame before the proof.';
    if (length !== 8) return 'A frame has a wrong length.';
    if (type === FRAME.ack) return this.#events.acknowledged(this, joinPieces(length, pieces));
    if (type === FRAME.ping) this.#answerPing(joinPieces(length, pieces));
    return undefined;
  }

  #receiveHello(length: number, pieces: readonly Uint8Array[]): string | undefined {
    if (this.peerHello !== undefined) return 'A second HELLO.';
    if (length > MAX_HELLO_BYTES) return 'HELLO is too long.';
    const payload = joinPieces(length, pieces);
    const hello = parseHello(payload, this.#side === 'service' ? 'device' : 'service');
    if (hello === undefined) return 'HELLO is malformed.';
    this.peerHello = hello;
    this.peerHelloFrame = encodeFrame(FRAME.hello, 0, payload);
    this.#events.hello(this, hello);
    return undefined;
  }

  #answerPing(payload: Uint8Array): void {
    const now = this.#environment.now();
    if (this.#isPongUnflushed || now - this.#pongAt < PONG_INTERVAL_MS) return;
    this.#pongAt = now;
    this.#isPongUnflushed = true;
    this.write([encodeFrame(FRAME.pong, 0, payload)], () => {
      this.#isPongUnflushed = false;
    });
  }
}

const NOTHING = (): void => undefined;
