import type { Duplex } from 'node:stream';
import { LIMITS } from '@culvert/protocol';
import { WriteBuffers } from './write-buffers.ts';

/** Called when a frame has been passed to the kernel, or could not be sent. */
type Sent = (error?: Error | null) => void;

type DataListener = (this: Duplex, chunk: Buffer) => void;

/** The first byte of a binary message that consists of one frame: FIN and the opcode for binary (RFC 6455 §5.2). */
const WHOLE_BINARY = 0x82;

/** The first byte of a Close frame: FIN and the opcode. The values for Ping and Pong follow it. */
const CLOSE = 0x88;
const PONG = 0x8a;

/** The flag in the second byte that announces a masking key. */
const MASKED = 0x80;

/** Bytes of a masking key. */
const KEY_BYTES = 4;

/** The longest frame header without a masking key: two bytes and a length field of eight bytes. */
const MAX_HEADER_BYTES = 10;

/** The longest payload of a control frame (RFC 6455 §5.5). */
const MAX_CONTROL_BYTES = 125;

/** Bytes of the longest payload that is copied behind its frame header, into memory from Node's pool: this costs less than two writes. */
const JOINED_BYTES = 4_000;

/** For messages of full size, of all connections: two are in use by a busy one. */
const BUFFERS = new WriteBuffers(LIMITS.frameBytes + MAX_HEADER_BYTES + KEY_BYTES, 4);

export interface ClientFramesOptions {
  /** Receives the payload bytes in order: each piece is the payload of a whole frame or a part of it. */
  readonly receive: (piece: Buffer) => void;
  /** Maximum bytes of a message. Longer messages are passed to the library, which rejects them. */
  readonly maxPayload: number;
}

/**
 * Reads and writes the data frames of a WebSocket client directly on its connection. The library (`ws`) collects each message until it is
 * complete and passes it through a stream of its own. A byte stream needs neither: this class passes on a message's bytes as they arrive.
 *
 * The library still handles everything else. It receives each control frame. At the first frame that is neither a control frame nor a whole
 * binary message (text, a fragment, a protocol error), it receives that frame and all bytes after it.
 */
export class ClientFrames {
  readonly #connection: Duplex;
  /** The 'data' listener that the library had on the connection. */
  readonly #library: DataListener;
  readonly #options: ClientFramesOptions;
  readonly #header = Buffer.alloc(MAX_HEADER_BYTES);
  #headerBytes = 0;
  /** Bytes of the current data frame's payload that have not arrived yet. */
  #payloadLeft = 0;
  /** Bytes of the current control frame's payload that have not arrived yet. */
  #controlLeft = 0;
  #state: 'reading' | 'closing' | 'left to the library' = 'reading';

  /**
   * Replaces the library's 'data' listener. If the connection does not have exactly one 'data' listener, this returns undefined and changes
   * nothing. Must be called in the same event-loop iteration in which the library emits 'open', before anything is read.
   */
  static over(connection: Duplex, options: ClientFramesOptions): ClientFrames | undefined {
    const [listener, ...others] = connection.listeners('data');
    if (listener === undefined || others.length > 0) return undefined;
    return new ClientFrames(connection, listener as DataListener, options);
  }

  private constructor(connection: Duplex, library: DataListener, options: ClientFramesOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#library = library;
    connection.on('data', this.#read);
    connection.off('data', library);
    // Runs before the library's own 'close' listener, which would read the remaining bytes as the beginning of a frame.
    connection.prependOnceListener('close', () => this.#readRest());
  }

  /** Sends a binary message as one frame, masked with a key of zeros. Its payload consists of `parts`, together at most 2^31 bytes. */
  send(parts: readonly Buffer[], sent: Sent | undefined): void {
    const size = lengthOf(parts);
    const headerBytes = (size < 126 ? 2 : size < 65_536 ? 4 : MAX_HEADER_BYTES) + KEY_BYTES;
    const isSmall = size <= JOINED_BYTES;
    const isPooled = !isSmall && size <= LIMITS.frameBytes;
    const buffer = isPooled ? BUFFERS.take() : undefined;
    const frame = buffer ?? Buffer.allocUnsafe(isSmall ? headerBytes + size : headerBytes);
    frame[0] = WHOLE_BINARY;
    if (size < 126) frame[1] = MASKED | size;
    else if (size < 65_536) {
      frame[1] = MASKED | 126;
      frame.writeUInt16BE(size, 2);
    } else {
      frame[1] = MASKED | 127;
      frame.writeUInt32BE(0, 2);
      frame.writeUInt32BE(size, 6);
    }
    frame.fill(0, headerBytes - KEY_BYTES, headerBytes);
    const connection = this.#connection;
    if (buffer !== undefined) {
      copyAt(buffer, headerBytes, parts);
      connection.write(buffer.subarray(0, headerBytes + size), (error) => {
        BUFFERS.give(buffer);
        sent?.(error);
      });
      return;
    }
    if (isSmall) {
      copyAt(frame, headerBytes, parts);
      connection.write(frame, sent);
      return;
    }
    connection.cork();
    connection.write(frame);
    const last = parts.length - 1;
    for (const [index, part] of parts.entries()) connection.write(part, index === last ? sent : undefined);
    connection.uncork();
  }

  readonly #read = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length && this.#state === 'reading') {
      if (this.#payloadLeft > 0) {
        const end = Math.min(chunk.length, at + this.#payloadLeft);
        this.#payloadLeft -= end - at;
        const piece = end - at === chunk.length ? chunk : chunk.subarray(at, end);
        at = end;
        this.#options.receive(piece);
      } else if (this.#controlLeft > 0) {
        const end = Math.min(chunk.length, at + this.#controlLeft);
        this.#controlLeft -= end - at;
        this.#passControlBytes(chunk.subarray(at, end));
        at = end;
      } else {
        at = this.#readHeader(chunk, at);
      }
    }
    if (this.#state === 'left to the library') {
      this.#passToLibrary(Buffer.concat([this.#header.subarray(0, this.#headerBytes), chunk.subarray(at)]));
    }
  };

  /** Reads bytes of a frame header from index `at` of `chunk` on; returns the index of the first byte after them. */
  #readHeader(chunk: Buffer, at: number): number {
    const header = this.#header;
    let next = at;
    while (next < chunk.length) {
      header[this.#headerBytes++] = chunk[next++] as number;
      if (this.#headerBytes >= 2 && this.#headerBytes === headerSize(header)) {
        this.#startFrame();
        break;
      }
    }
    return next;
  }

  /** Decides how to handle a frame whose header is complete. */
  #startFrame(): void {
    const header = this.#header;
    const [first = 0, second = 0] = header;
    const size = payloadSize(header);
    if (first === WHOLE_BINARY && second < MASKED && size <= this.#options.maxPayload) {
      this.#headerBytes = 0;
      this.#payloadLeft = size;
    } else if (first >= CLOSE && first <= PONG && second <= MAX_CONTROL_BYTES) {
      const bytes = Buffer.from(header.subarray(0, this.#headerBytes));
      this.#headerBytes = 0;
      this.#controlLeft = size;
      this.#passControlBytes(bytes);
    } else {
      this.#leaveToLibrary();
    }
  }

  /** Passes a part of a control frame to the library. All bytes after a complete Close frame are ignored (RFC 6455 §5.5.1). */
  #passControlBytes(bytes: Buffer): void {
    if (this.#controlLeft === 0 && this.#header[0] === CLOSE) this.#state = 'closing';
    this.#passToLibrary(bytes);
  }

  #passToLibrary(bytes: Buffer): void {
    Reflect.apply(this.#library, this.#connection, [bytes]);
  }

  /** From the beginning of this frame header on, the library reads the connection. After a protocol error it removes its listener itself. */
  #leaveToLibrary(): void {
    this.#state = 'left to the library';
    this.#connection.on('data', this.#library);
    this.#connection.off('data', this.#read);
  }

  /** Reads the bytes that a paused connection had buffered when it closed. */
  #readRest(): void {
    const connection = this.#connection;
    connection.off('data', this.#read);
    if (this.#state === 'left to the library' || connection.readableLength === 0) return;
    const rest: unknown = connection.read();
    if (rest instanceof Buffer) this.#read(rest);
  }
}

function lengthOf(parts: readonly Buffer[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

function copyAt(target: Buffer, at: number, parts: readonly Buffer[]): void {
  let offset = at;
  for (const part of parts) {
    target.set(part, offset);
    offset += part.length;
  }
}

/** Bytes of a frame header without a masking key, computed from its second byte. */
function headerSize(header: Buffer): number {
  const length = (header[1] as number) & 0x7f;
  return length < 126 ? 2 : length === 126 ? 4 : MAX_HEADER_BYTES;
}

/** The payload length from a frame header. Above 2^53 it is inexact, but such a length exceeds every limit anyway. */
function payloadSize(header: Buffer): number {
  const length = (header[1] as number) & 0x7f;
  if (length < 126) return length;
  return length === 126 ? header.readUInt16BE(2) : header.readUInt32BE(2) * 2 ** 32 + header.readUInt32BE(6);
}
