import { Duplex } from 'node:stream';
import { CulvertError, printable } from '@culvert/protocol';
import { callApart } from './call-apart.ts';
import type { ConnectionEvents, SessionConnection } from './core/connection.ts';
import type { ConnectionReason } from './core/frame.ts';
import { SmallPieces } from './small-pieces.ts';

/** Bytes that a reader who does not read may leave, before the peer gets no further limit. */
const READ_AHEAD_BYTES = 65_536;

/** Who receives what happens to a connection, and can be told to give it up. */
export interface ConnectionReceiver extends ConnectionEvents {
  /** Gives the connection up with this error. */
  fail(error: Error): void;
}

/**
 * A connection of a session as a `Duplex` with true half-close: `end()` ends this direction only, and the other goes on without a time limit. It may be
 * written to before the device has answered; it emits `opened` when the device has reached the service.
 */
export class ConnectionDuplex extends Duplex implements ConnectionReceiver {
  #connection: SessionConnection | undefined;
  #written: ((error?: Error | null) => void) | undefined;
  /** Bytes in the readable buffer that were not yet reported as consumed. */
  #unconsumed = 0;
  /** Bytes behind those in the readable buffer. */
  readonly #small = new SmallPieces();
  #isPushScheduled = false;
  #receiver: ConnectionReceiver | undefined;
  #answered: ((error?: Error) => void) | undefined;

  /**
   * @param answered called once: when the device has reached the service, or with the reason why it never will. Not called if the Duplex is destroyed
   *   before without an error
   */
  constructor(
    options: { readonly allowHalfOpen?: boolean | undefined; readonly answered?: (error?: Error) => void } = {},
  ) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? true,
      readableHighWaterMark: READ_AHEAD_BYTES,
      writableHighWaterMark: READ_AHEAD_BYTES,
    });
    this.#answered = options.answered;
  }

  /** Gives the Duplex its connection; nothing is sent before. If the Duplex was destroyed meanwhile the connection is reset. */
  start(connection: SessionConnection): void {
    this.#connection = connection;
    if (this.destroyed) connection.abort('reset');
    else this.emit('connection');
  }

  /** Whether the device has not answered. */
  get isOpening(): boolean {
    return this.#connection?.isOpening !== false;
  }

  /** Whether the device may have heard of the connection: it was given to a link. */
  get isAsked(): boolean {
    return this.#connection?.owesAnswer === false;
  }

  /**
   * Gives the connection to another receiver, such as a relay that needs no Duplex between. What was received and not read is delivered to it. The
   * receiver passes on `opened`, and `destroy` of the Duplex makes it fail. Returns undefined if the Duplex is in use: it was written to, or has failed.
   */
  handOver(receiver: ConnectionReceiver): SessionConnection | undefined {
    const connection = this.#connection;
    if (connection === undefined || this.destroyed || this.writableLength > 0 || this.writableEnded) return undefined;
    this.#receiver = receiver;
    connection.events = receiver;
    for (let chunk: unknown = this.read(); chunk instanceof Uint8Array; chunk = this.read()) receiver.data(chunk);
    const small = this.#small.take();
    if (small !== undefined) receiver.data(small);
    if (connection.peerEnded) receiver.ended();
    return connection;
  }

  opened(): void {
    this.#settle();
    this.emit('opened');
  }

  moved(connection: SessionConnection): void {
    this.#connection = connection;
  }

  fail(error: Error): void {
    this.destroy(error);
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

  /** The receiver that took the connection over gives it up before the device has answered. */
  gaveUp(error: Error): void {
    this.#settle(error);
  }

  override _read(): void {
    if (this.#receiver === undefined) this.#pushSmall();
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
    if (this.#receiver !== undefined) this.#receiver.fail(error ?? new CulvertError('aborted'));
    else if (connection !== undefined && !hasEnded) connection.abort('reset');
    this.#written = undefined;
    if (error !== null) this.#settle(error);
    done(error);
  }

  #settle(error?: Error): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(error);
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
      if (this.#receiver === undefined) this.#pushSmall();
    });
  }

  #consume(): void {
    if (this.#receiver !== undefined) return;
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
