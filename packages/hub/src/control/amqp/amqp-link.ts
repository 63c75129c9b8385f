import type { Duplex } from 'node:stream';
import { CulvertError, printable } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Delivery, Message, Receiver, Sender } from 'rhea';
import type { ControlProtocol } from '../../observe/listener.ts';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import { FrameValidator, type Passed } from '../amqp-validator/frame-validator.ts';
import { lossOf } from '../connection-loss.ts';
import type { ControlLimits } from '../control-channel.ts';
import { type EngineListener, type Outcome, RheaEngine, type SaslVerifier } from './rhea-engine.ts';

type ForwardedEvent = 'opened' | 'linkOpened' | 'linkClosed' | 'message' | 'disposed';

/** Receives the peer's events, until `ended` is called. */
export interface AmqpLinkListener extends Pick<EngineListener, ForwardedEvent> {
  /** Received data was processed, so links may have new credit. */
  flowed(): void;
  ended(error: CulvertError): void;
}

export interface AmqpLinkOptions {
  readonly protocol: ControlProtocol;
  readonly clock: Clock;
  readonly limits: ControlLimits;
  /** Verifiers of SASL's initial responses, by mechanism. */
  readonly sasl: Readonly<Record<string, SaslVerifier>>;
  /** The number of authenticated identities; the limit on queued bytes is multiplied by it. */
  readonly identities: () => number;
  readonly listener: AmqpLinkListener;
}

/** Milliseconds in which a connection must take the last frame and close; then it is destroyed. */
const CLOSE_TIMEOUT_MS = 2_000;

/** An empty frame, which serves as a keep-alive (AMQP 1.0 §2.4.5). */
const EMPTY_FRAME = Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]);

/** One AMQP connection: moves bytes and time between the peer and an engine, with a frame validator between them. */
export class AmqpLink implements EngineListener {
  readonly #connection: Duplex;
  readonly #options: AmqpLinkOptions;
  readonly #validator: FrameValidator;
  readonly #engine: RheaEngine;
  readonly #startedAt: number;
  #receivedAt: number;
  #wroteAt: number;
  /** Bytes processed before the peer has authenticated; undefined afterwards. */
  #unauthenticated: number | undefined = 0;
  /** Number of callers that have paused reading. */
  #holds = 0;
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** Number of writes that the layer below has not finished. */
  #unflushed = 0;
  /** Whether the last frame was written; nothing may be written after it. */
  #wroteLast = false;
  #endedWith: CulvertError | undefined;

  constructor(connection: Duplex, options: AmqpLinkOptions) {
    const { clock, limits, identities, sasl } = options;
    this.#connection = connection;
    this.#options = options;
    this.#startedAt = this.#receivedAt = this.#wroteAt = clock.now();
    this.#validator = new FrameValidator({
      maxMessageBytes: limits.maxPacketBytes,
      identities,
      nextSent: (channel) => this.#engine.nextSent(channel),
    });
    this.#engine = new RheaEngine({ sasl, maxMessageBytes: limits.maxPacketBytes, listener: this });
  }

  /** Begins to read. */
  start(): void {
    const connection = this.#connection;
    connection.on('data', this.#onData);
    connection.on('end', this.#onEnd);
    connection.on('error', this.#onError);
    connection.on('close', this.#onClose);
    if (connection.destroyed) this.#onClose();
    else this.#arm();
  }

  /** Why the link ended; undefined while it lives. */
  get endedWith(): CulvertError | undefined {
    return this.#endedWith;
  }

  /** Whether the peer was shown the SASL mechanisms and has chosen none. */
  get awaitsMechanism(): boolean {
    return this.#validator.awaitsMechanism;
  }

  /** An identity has authenticated: the limits on time and bytes before authentication no longer apply. */
  authenticated(): void {
    this.#unauthenticated = undefined;
    this.#validator.authenticated();
    this.#arm();
  }

  /** Pauses reading until the returned function is called, once. */
  hold(): () => void {
    this.#holds++;
    this.#connection.pause();
    return () => {
      this.#holds--;
      this.#read();
    };
  }

  /** Writes no answers, except a close, until the returned function is called, once. */
  holdAnswers(): () => void {
    return this.#engine.holdAnswers();
  }

  canSend(link: Sender): boolean {
    return this.#endedWith === undefined && this.#engine.canSend(link);
  }

  /** Sends a message; to be called only after {@link canSend} has returned true. */
  send(link: Sender, message: Buffer, tag?: Buffer): void {
    this.#engine.send(link, message, tag);
  }

  /** Ends the connection and sends the peer the reason, where possible. Idempotent. */
  end(error: CulvertError): void {
    if (this.#endedWith !== undefined) return;
    this.#engine.close(error);
    this.#end(error);
  }

  // The methods of `EngineListener`, which the engine calls.

  write(bytes: Buffer): void {
    const connection = this.#connection;
    // The engine may still answer earlier frames, but no frame may follow a close.
    if (this.#wroteLast || connection.destroyed || !connection.writable) return;
    this.#unflushed++;
    this.#wroteAt = this.#options.clock.now();
    connection.write(bytes, this.#onFlushed);
    const { limits, identities } = this.#options;
    if (connection.writableLength <= limits.maxQueuedBytes * Math.max(1, identities())) return;
    this.#lost(new CulvertError('stalled', 'The device does not read.'));
    connection.destroy();
  }

  saslDone(refusal: CulvertError | undefined): void {
    if (refusal === undefined) {
      this.#validator.saslSucceeded();
      this.#read();
    } else this.end(refusal);
  }

  opened(): void {
    if (this.#endedWith === undefined) this.#options.listener.opened();
  }

  linkOpened(link: Sender | Receiver): void {
    if (this.#endedWith === undefined) this.#options.listener.linkOpened(link);
  }

  linkClosed(link: Sender | Receiver): void {
    if (this.#endedWith === undefined) this.#options.listener.linkClosed(link);
  }

  message(receiver: Receiver, message: Message | Buffer, delivery: Delivery): void {
    if (this.#endedWith === undefined) this.#options.listener.message(receiver, message, delivery);
  }

  disposed(delivery: Delivery, outcome: Outcome): void {
    if (this.#endedWith === undefined) this.#options.listener.disposed(delivery, outcome);
  }

  closed(): void {
    this.#engine.close();
    this.#lost(new CulvertError('device_gone', 'The device closed the connection.'));
  }

  failed(error: CulvertError): void {
    this.end(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#receivedAt = this.#options.clock.now();
    this.#validator.push(chunk);
    this.#read();
  };

  readonly #onEnd = (): void => this.#lost(new CulvertError('device_gone', 'The device closed the connection.'));

  readonly #onError = (error: Error): void => this.#lost(lossOf(error));

  readonly #onClose = (): void => {
    this.#lost(new CulvertError('device_gone', 'The connection was lost.'));
    this.#timer?.cancel();
  };

  /** Feeds received headers and frames to the engine, one at a time, until none is complete or reading is paused. */
  #read(): void {
    try {
      while (this.#endedWith === undefined && this.#holds === 0) {
        const passed = this.#validator.next();
        if (passed === undefined) break;
        this.#countUnauthenticated(passed.bytes.length);
        this.#engine.feed(passed.bytes);
        this.#fed(passed);
      }
    } catch (reason) {
      const error = CulvertError.from(reason);
      if (error.code === 'protocol_unsupported') this.write(this.#validator.expectedHeader);
      this.end(error);
    }
    if (this.#endedWith !== undefined) return;
    if (this.#validator.isAuthenticating) this.#connection.pause();
    else if (this.#holds === 0) this.#connection.resume();
    this.#options.listener.flowed();
    this.#arm();
  }

  /** @throws CulvertError `too_large` */
  #countUnauthenticated(bytes: number): void {
    if (this.#unauthenticated === undefined) return;
    this.#unauthenticated += bytes;
    if (this.#unauthenticated <= AMQP_LIMITS.unauthenticatedBytes) return;
    const detail = `More than ${AMQP_LIMITS.unauthenticatedBytes} bytes before the device authenticated.`;
    throw new CulvertError('too_large', detail);
  }

  #fed(passed: Passed): void {
    // The engine removes an ended link in a later tick; until then it would take a new link of the same name for the old one.
    if (passed.kind === 'ending') setImmediate(this.hold());
    if (passed.kind !== 'sasl-init' || Object.hasOwn(this.#options.sasl, passed.mechanism)) return;
    this.end(new CulvertError('unauthorized', `The SASL mechanism ${printable(passed.mechanism, 32)} is not offered.`));
  }

  /** Ends the connection without sending a reason: the peer has disconnected, is about to, or does not read. */
  #lost(error: CulvertError): void {
    if (this.#endedWith === undefined) this.#end(error);
  }

  /** Received data is discarded from now on. It must still be read, so that the end of the peer's data is noticed. */
  #end(error: CulvertError): void {
    this.#endedWith = error;
    this.#timer?.cancel();
    const connection = this.#connection;
    connection.off('data', this.#onData);
    this.#options.listener.ended(error);
    if (connection.destroyed) return;
    connection.resume();
    this.#timer = this.#options.clock.setTimer(CLOSE_TIMEOUT_MS, () => connection.destroy());
    // The engine writes its close in the next tick, in a callback that it registered before this one.
    process.nextTick(() => {
      this.#wroteLast = true;
      if (this.#unflushed === 0) this.#close(error);
    });
  }

  readonly #onFlushed = (): void => {
    this.#unflushed--;
    if (this.#endedWith !== undefined && this.#wroteLast && this.#unflushed === 0) this.#close(this.#endedWith);
  };

  /**
   * Closes the transport after the last frame was written. Over WebSocket the close code also carries the reason, except to a device that
   * disconnected by itself; TLS cannot carry one.
   */
  #close(error: CulvertError): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.#options.protocol === 'amqp-ws' && error.code !== 'device_gone') connection.destroy(error);
    else connection.end();
  }

  get #deadline(): number {
    if (this.#unauthenticated !== undefined) return this.#startedAt + this.#options.limits.authenticateMs;
    return Math.min(this.#receivedAt + AMQP_LIMITS.silenceMs, this.#keepAliveDue);
  }

  /** When the next keep-alive is due: after half of the peer's idle-time-out without a frame to it (§2.4.5). */
  get #keepAliveDue(): number {
    const { peerIdleMs } = this.#validator;
    return peerIdleMs === undefined ? Number.POSITIVE_INFINITY : this.#wroteAt + peerIdleMs / 2;
  }

  #arm(): void {
    const deadline = this.#deadline;
    // When the deadline moves to a later time, the timer is adjusted only when it fires, so that no timer is set per frame.
    if (this.#endedWith !== undefined || deadline >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = deadline;
    this.#timer = this.#options.clock.setTimer(Math.max(0, deadline - this.#options.clock.now()), () => {
      this.#timerDue = Number.POSITIVE_INFINITY;
      this.#tick();
      this.#arm();
    });
  }

  #tick(): void {
    const now = this.#options.clock.now();
    const { authenticateMs } = this.#options.limits;
    if (this.#unauthenticated !== undefined) {
      if (now < this.#startedAt + authenticateMs) return;
      const detail = `The device did not authenticate within ${authenticateMs / 1000} s.`;
      this.end(new CulvertError('handshake_timeout', detail));
    } else if (now >= this.#receivedAt + AMQP_LIMITS.silenceMs) this.end(new CulvertError('keepalive_timeout'));
    else if (now >= this.#keepAliveDue) this.write(EMPTY_FRAME);
  }
}
