import type { Duplex } from 'node:stream';

/** Called when a frame was passed to the kernel, or failed. */
type Sent = (error?: Error | null) => void;

type DataListener = (this: Duplex, chunk: Buffer) => void;

/** FIN and the opcode for binary (RFC 6455 §5.2): the first byte of every message that is one frame. */
const WHOLE_BINARY = 0x82;

/** FIN and the opcode for Close; those for Ping and Pong follow. */
const CLOSE = 0x88;
const PONG = 0x8a;

/** The second byte's flag for a masking key. */
const MASKED = 0x80;

/** Bytes of a masking key. */
const KEY_BYTES = 4;

/** The longest head without a key: two bytes and a length of eight. */
const MAX_HEAD_BYTES = 10;

/** The longest payload of a control frame (§5.5). */
const MAX_CONTROL_BYTES = 125;

/** Payload up to here is copied behind its head, into memory from Node's pool: cheaper than writing two pieces. */
const JOINED_BYTES = 4_000;

export interface ClientFramesOptions {
  /** Receives payload in order: that of a whole frame, or a part of it. */
  readonly receive: (piece: Buffer) => void;
  /** Maximum bytes of a message; longer ones are left to the library, which rejects them. */
  readonly maxPayload: number;
}

/**
 * Reads and writes the data frames of a WebSocket client directly on its connection. The library (`ws`) assembles each message and passes
 * it through a stream of its own, which a byte stream does not need: here a message's bytes are passed on as they arrive. Everything else is left to the
 * library: control frames are passed to it one by one, and the first frame that is neither control nor a whole binary message (text,
 * fragments, a protocol error) is passed to it with everything that follows.
 */
export class ClientFrames {
  readonly #connection: Duplex;
  /** The library's original 'data' listener. */
  readonly #library: DataListener;
  readonly #options: ClientFramesOptions;
  readonly #head = Buffer.alloc(MAX_HEAD_BYTES);
  #headBytes = 0;
  /** Bytes to come of a data frame's payload, or of a control frame's. */
  #payload = 0;
  #control = 0;
  #state: 'reading' | 'closing' | 'left to the library' = 'reading';

  /**
   * Replaces the library's 'data' listener; returns undefined and changes nothing unless there is exactly one. Must be called in the same event-loop iteration in which
   * the library emits 'open', before anything is read.
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
    // Before the library's own listener, which would treat unread bytes as the beginning of a frame.
    connection.prependOnceListener('close', () => this.#readRest());
  }

  /** Sends a binary message of one frame, with the zero key; at most 2^31 bytes. */
  send(payload: Buffer, sent: Sent | undefined): void {
    const size = payload.length;
    const headBytes = (size < 126 ? 2 : size < 65_536 ? 4 : MAX_HEAD_BYTES) + KEY_BYTES;
    const isJoined = size <= JOINED_BYTES;
    const frame = Buffer.allocUnsafe(isJoined ? headBytes + size : headBytes);
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
    frame.fill(0, headBytes - KEY_BYTES, headBytes);
    const connection = this.#connection;
    if (isJoined) {
      frame.set(payload, headBytes);
      connection.write(frame, sent);
      return;
    }
    connection.cork();
    connection.write(frame);
    connection.write(payload, sent);
    connection.uncork();
  }

  readonly #read = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length && this.#state === 'reading') {
      if (this.#payload > 0) {
        const end = Math.min(chunk.length, at + this.#payload);
        this.#payload -= end - at;
        const piece = end - at === chunk.length ? chunk : chunk.subarray(at, end);
        at = end;
        this.#options.receive(piece);
      } else if (this.#control > 0) {
        const end = Math.min(chunk.length, at + this.#control);
        this.#control -= end - at;
        this.#handOver(chunk.subarray(at, end));
        at = end;
      } else {
        at = this.#readHead(chunk, at);
      }
    }
    if (this.#state === 'left to the library') {
      this.#tell(Buffer.concat([this.#head.subarray(0, this.#headBytes), chunk.subarray(at)]));
    }
  };

  /** Reads what of a head there is from `at` on; returns where the rest begins. */
  #readHead(chunk: Buffer, at: number): number {
    const head = this.#head;
    let next = at;
    while (next < chunk.length) {
      head[this.#headBytes++] = chunk[next++] as number;
      if (this.#headBytes >= 2 && this.#headBytes === headSize(head)) {
        this.#begin();
        break;
      }
    }
    return next;
  }

  /** A head is complete. */
  #begin(): void {
    const head = this.#head;
    const [first = 0, second = 0] = head;
    const size = payloadSize(head);
    if (first === WHOLE_BINARY && second < MASKED && size <= this.#options.maxPayload) {
      this.#headBytes = 0;
      this.#payload = size;
    } else if (first >= CLOSE && first <= PONG && second <= MAX_CONTROL_BYTES) {
      const bytes = Buffer.from(head.subarray(0, this.#headBytes));
      this.#headBytes = 0;
      this.#control = size;
      this.#handOver(bytes);
    } else {
      this.#leave();
    }
  }

  /** A part of a control frame. After a whole Close nothing counts any more (§5.5.1). */
  #handOver(bytes: Buffer): void {
    if (this.#control === 0 && this.#head[0] === CLOSE) this.#state = 'closing';
    this.#tell(bytes);
  }

  #tell(bytes: Buffer): void {
    Reflect.apply(this.#library, this.#connection, [bytes]);
  }

  /** The library continues where this head begins. It removes its listener again after a protocol error. */
  #leave(): void {
    this.#state = 'left to the library';
    this.#connection.on('data', this.#library);
    this.#connection.off('data', this.#read);
  }

  /** What a paused connection had read when it closed. */
  #readRest(): void {
    const connection = this.#connection;
    connection.off('data', this.#read);
    if (this.#state === 'left to the library' || connection.readableLength === 0) return;
    const rest: unknown = connection.read();
    if (rest instanceof Buffer) this.#read(rest);
  }
}

/** Bytes of a head without key, by its second byte. */
function headSize(head: Buffer): number {
  const length = (head[1] as number) & 0x7f;
  return length < 126 ? 2 : length === 126 ? 4 : MAX_HEAD_BYTES;
}

/** Beyond 2^53 it is not exact, and beyond every limit. */
function payloadSize(head: Buffer): number {
  const length = (head[1] as number) & 0x7f;
  if (length < 126) return length;
  return length === 126 ? head.readUInt16BE(2) : head.readUInt32BE(2) * 2 ** 32 + head.readUInt32BE(6);
}
