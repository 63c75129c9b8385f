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

type PassedOn = 'opened' | 'linkOpened' | 'linkClosed' | 'message' | 'disposed';

/** Told what the peer does, until `ended`. */
export interface AmqpLinkListener extends Pick<EngineListener, PassedOn> {
  /** Something was read, so that there may be credit where there was none. */
  flowed(): void;
  ended(error: CulvertError): void;
}

export interface AmqpLinkOptions {
  readonly protocol: ControlProtocol;
  readonly clock: Clock;
  readonly limits: ControlLimits;
  /** Verifiers of SASL's initial responses, by mechanism. */
  readonly sasl: Readonly<Record<string, SaslVerifier>>;
  /** How many identities have proved who they are: what may wait to be sent grows with them. */
  readonly identities: () => number;
  readonly listener: AmqpLinkListener;
}

/** Milliseconds a connection gets to take the last frame and close, before it is cut. */
const FAREWELL_MS = 2_000;

/** What shows life and says nothing (AMQP 1.0 §2.4.5). */
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
  /** Bytes that were taken before the peer had proved anything; undefined since it has. */
  #unauthenticated: number | undefined = 0;
  /** Reasons for which nothing is read now. */
  #holds = 0;
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** Writes not yet taken by the layer below. */
  #unflushed = 0;
  /** Everything that is to be said before the end was written. */
  #saidAll = false;
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

  /** An identity has proved who it is: the peer has the time and the bytes it wants from now on. */
  authenticated(): void {
    this.#unauthenticated = undefined;
    this.#validator.authenticated();
    this.#arm();
  }

  /** Reads nothing until the returned function is called, once. */
  hold(): () => void {
    this.#holds++;
    this.#connection.pause();
    return () => {
      this.#holds--;
      this.#read();
    };
  }

  /** Answers nothing, besides a close, until the returned function is called, once. */
  holdAnswers(): () => void {
    return this.#engine.holdAnswers();
  }

  canSend(link: Sender): boolean {
    return this.#endedWith === undefined && this.#engine.canSend(link);
  }

  /** Sends a message for which {@link canSend} said yes. */
  send(link: Sender, message: Buffer, tag?: Buffer): void {
    this.#engine.send(link, message, tag);
  }

  /** Ends the connection, telling the peer why where it can. Idempotent. */
  end(error: CulvertError): void {
    if (this.#endedWith !== undefined) return;
    this.#engine.close(error);
    this.#end(error);
  }

  // What the engine tells.

  write(bytes: Buffer): void {
    const connection = this.#connection;
    // The engine may still answer what it read, but nothing follows a close.
    if (this.#saidAll || connection.destroyed || !connection.writable) return;
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

  /** Feeds the engine what has arrived, one unit at a time, as far as nothing holds it up. */
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
    const detail = `More than ${AMQP_LIMITS.unauthenticatedBytes} bytes before the device proved who it is.`;
    throw new CulvertError('too_large', detail);
  }

  #fed(passed: Passed): void {
    // The engine forgets what has ended in a later tick; meanwhile it would mistake a new link of the same name for the old one.
    if (passed.kind === 'ending') setImmediate(this.hold());
    if (passed.kind !== 'sasl-init' || Object.hasOwn(this.#options.sasl, passed.mechanism)) return;
    this.end(new CulvertError('unauthorized', `The SASL mechanism ${printable(passed.mechanism, 32)} is not offered.`));
  }

  /** The peer is gone or going, so it is not told why. */
  #lost(error: CulvertError): void {
    if (this.#endedWith === undefined) this.#end(error);
  }

  /** Nothing is read any more, but what arrives must pass for the peer's goodbye to be noticed. */
  #end(error: CulvertError): void {
    this.#endedWith = error;
    this.#timer?.cancel();
    const connection = this.#connection;
    connection.off('data', this.#onData);
    this.#options.listener.ended(error);
    if (connection.destroyed) return;
    connection.resume();
    this.#timer = this.#options.clock.setTimer(FAREWELL_MS, () => connection.destroy());
    // The engine writes its close in the next tick, for which it has asked before.
    process.nextTick(() => {
      this.#saidAll = true;
      if (this.#unflushed === 0) this.#close(error);
    });
  }

  readonly #onFlushed = (): void => {
    this.#unflushed--;
    if (this.#endedWith !== undefined && this.#saidAll && this.#unflushed === 0) this.#close(this.#endedWith);
  };

  /**
   * Closes the transport once the last frame is out. Over WebSocket the close code tells the reason too, except to a device that left by itself;
   * TLS has only its end.
   */
  #close(error: CulvertError): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.#options.protocol === 'amqp-ws' && error.code !== 'device_gone') connection.destroy(error);
    else connection.end();
  }

  get #deadline(): number {
    if (this.#unauthenticated !== undefined) return this.#startedAt + this.#options.limits.authenticateMs;
    return Math.min(this.#receivedAt + AMQP_LIMITS.silenceMs, this.#lifeSignDue);
  }

  /** When the peer is to be shown life next: after half of its idle-time-out without a frame to it (§2.4.5). */
  get #lifeSignDue(): number {
    const { peerIdleMs } = this.#validator;
    return peerIdleMs === undefined ? Number.POSITIVE_INFINITY : this.#wroteAt + peerIdleMs / 2;
  }

  #arm(): void {
    const deadline = this.#deadline;
    // A deadline that moved later is noticed when the timer fires: no timer is set per frame.
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
    else if (now >= this.#lifeSignDue) this.write(EMPTY_FRAME);
  }
}
