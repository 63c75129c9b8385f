import { Duplex } from 'node:stream';
import { CulvertError, printable } from '@culvert/protocol';
import { callApart } from './call-apart.ts';
import type { ConnectionEvents, SessionConnection } from './core/connection.ts';
import type { ConnectionReason } from './core/frame.ts';
import { SmallPieces } from './small-pieces.ts';

/** Bytes that a reader who does not read may leave, before the peer gets no further limit. */
const READ_AHEAD_BYTES = 65_536;

/** A connection of a session as a `Duplex` with true half-close: `end()` ends this direction only, and the other goes on without a time limit. */
export class ConnectionDuplex extends Duplex implements ConnectionEvents {
  #connection: SessionConnection | undefined;
  #written: ((error?: Error | null) => void) | undefined;
  /** Bytes in the readable buffer that were not yet reported as consumed. */
  #unconsumed = 0;
  /** Bytes behind those in the readable buffer. */
  readonly #small = new SmallPieces();
  #isPushScheduled = false;
  /** Whether the connection went on in another session, because nothing had been sent. */
  hasMoved = false;
  #isHandedOver = false;
  readonly #opened: () => void;

  /** @param opened called when the device has reached the service */
  constructor(options: { readonly allowHalfOpen?: boolean | undefined; readonly opened?: () => void } = {}) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? true,
      readableHighWaterMark: READ_AHEAD_BYTES,
      writableHighWaterMark: READ_AHEAD_BYTES,
    });
    this.#opened = options.opened ?? (() => undefined);
  }

  /**
   * Gives the Duplex its connection; nothing is sent before. A second call moves it to a connection of another session. If the Duplex was destroyed
   * meanwhile the connection is reset.
   */
  start(connection: SessionConnection): void {
    this.hasMoved = this.#connection !== undefined;
    this.#connection = connection;
    if (this.destroyed) connection.abort('reset');
    else this.emit('connection');
  }

  /**
   * Gives the connection to another receiver, such as a relay that needs no Duplex between. What was received and not read is delivered to it. Returns
   * undefined if the Duplex is in use: it was written to, or has failed.
   */
  handOver(events: ConnectionEvents): SessionConnection | undefined {
    const connection = this.#connection;
    if (connection === undefined || this.destroyed || this.writableLength > 0 || this.writableEnded) return undefined;
    this.#isHandedOver = true;
    connection.events = events;
    for (let chunk: unknown = this.read(); chunk instanceof Uint8Array; chunk = this.read()) events.data(chunk);
    const small = this.#small.take();
    if (small !== undefined) events.data(small);
    if (connection.peerEnded) events.ended();
    return connection;
  }

  opened(): void {
    this.#opened();
  }

  data(bytes: Uint8Array): void {
    if (this.#joins(bytes)) return;
    this.#pushSmall();
    if (this.#joins(bytes)) return;
    this.#unconsumed += bytes.length;
    this.#push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }

  ended(): void {
    this.#pushSmall();
    this.push(null);
  }

  drained(): void {
    const written = this.#written;
    this.#written = undefined;
    callApart(() => written?.());
  }

  aborted(reason: ConnectionReason, text: string, isRefusal: boolean): void {
    this.destroy(connectionError(reason, text, isRefusal));
  }

  override _read(): void {
    if (!this.#isHandedOver) this.#pushSmall();
  }

  /** As in `Readable`. All ways to read lead here, or get their bytes from `push`; `_read` is called before they are taken, and not again for the last of them. */
  override read(size?: number): ReturnType<Duplex['read']> {
    const chunk: unknown = super.read(size);
    this.#consume();
    return chunk;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const connection = this.#connection;
    if (connection === undefined) this.once('connection', () => this._write(chunk, _encoding, done));
    else if (connection.write(chunk)) done();
    else this.#written = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    const connection = this.#connection;
    if (connection === undefined) {
      this.once('connection', () => this._final(done));
      return;
    }
    connection.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const connection = this.#connection;
    const hasEnded = this.readableEnded && this.writableFinished;
    if (connection !== undefined && !hasEnded && !this.#isHandedOver) connection.abort('reset');
    this.#written = undefined;
    done(error);
  }

  /** Whether the bytes were kept behind those that the program has not read. */
  #joins(bytes: Uint8Array): boolean {
    const isBehind = this.readableLength > 0 || this.#small.length > 0;
    if (!isBehind || !this.#small.add(bytes)) return false;
    this.#unconsumed += bytes.length;
    if (this.readableLength < READ_AHEAD_BYTES) this.#pushSoon();
    return true;
  }

  #push(chunk: Buffer): void {
    // Where the program reads as fast as bytes come, its listeners are called at once.
    const takesMore = callApart(() => this.push(chunk)) ?? true;
    if (takesMore) this.#consume();
  }

  #pushSmall(): void {
    const bytes = this.#small.take();
    if (bytes !== undefined) this.#push(bytes);
  }

  /** With all that this turn of the event loop brings. */
  #pushSoon(): void {
    if (this.#isPushScheduled) return;
    this.#isPushScheduled = true;
    process.nextTick(() => {
      this.#isPushScheduled = false;
      if (!this.#isHandedOver) this.#pushSmall();
    });
  }

  #consume(): void {
    if (this.#isHandedOver) return;
    const bytes = this.#unconsumed - this.readableLength - this.#small.length;
    if (bytes <= 0) return;
    this.#unconsumed -= bytes;
    this.#connection?.consumed(bytes);
  }
}

/** The error of a connection that was refused or reset. */
export function connectionError(reason: ConnectionReason, text: string, isRefusal: boolean): CulvertError {
  // The peer's words may be shown in a terminal.
  const detail = text === '' ? DETAILS[reason] : printable(text, 256);
  if (reason === 'going_away') return new CulvertError('draining', detail);
  if (isRefusal) return new CulvertError('rejected', `The device rejected the stream: ${detail}`);
  return new CulvertError('stream_lost', detail);
}

const DETAILS: Record<ConnectionReason, string> = {
  reset: 'The program at the other end reset the connection.',
  refused: 'The target on the device refuses connections.',
  unreachable: 'The device has no route to the target.',
  timed_out: 'The target on the device did not answer in time.',
  not_offered: 'The device offers no service of this name.',
  too_many: 'The device has as many connections as it may have.',
  out_of_memory: 'The device is out of memory for this connection.',
  flow_control: 'More was sent than the limit of the connection allows.',
  going_away: 'The other end is about to stop.',
  not_permitted: 'The caller may not open this service.',
};
