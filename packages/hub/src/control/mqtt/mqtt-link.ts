import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS, type Offer, type SessionAnswer } from '@culvert/protocol';
import { type Credentials, encodePacket, type HubEffect, HubSession, PacketReader } from '@culvert/protocol/mqtt';
import type { Clock, Timer } from '@culvert/stream';
import type { ControlProtocol } from '../../observe/listener.ts';
import { lossOf } from '../connection-loss.ts';
import type { ControlLimits } from '../control-channel.ts';

/** Receives the events of an authenticated device. */
export interface MqttLinkListener {
  offersChanged(): void;
  answered(requestId: string, answer: { accepted: boolean; reason: string; session: SessionAnswer | undefined }): void;
  announced(text: string): void;
  sessionReported(text: string): void;
  ended(error: CulvertError): void;
}

/** Milliseconds to send the last packet and close the connection, before it is destroyed. */
const CLOSE_MS = 2_000;

/** The MQTT connection of one device. Passes received packets and the time to a {@link HubSession}, and carries out the effects that it returns. */
export class MqttLink {
  readonly #connection: Duplex;
  readonly #protocol: ControlProtocol;
  readonly #clock: Clock;
  readonly #maxQueuedBytes: number;
  readonly #maxPacketBytes: number;
  readonly #session: HubSession;
  readonly #reader: PacketReader;
  #onCredentials: ((credentials: Credentials | undefined) => void) | undefined;
  #listener: MqttLinkListener | undefined;
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** The number of writes that the connection has not flushed yet. */
  #unflushed = 0;
  #endedWith: CulvertError | undefined;

  constructor(connection: Duplex, options: { protocol: ControlProtocol; clock: Clock; limits: ControlLimits }) {
    const { clock, limits, protocol } = options;
    this.#connection = connection;
    this.#protocol = protocol;
    this.#clock = clock;
    this.#maxQueuedBytes = limits.maxQueuedBytes;
    this.#session = new HubSession({ now: clock.now(), ...limits });
    this.#maxPacketBytes = limits.maxPacketBytes;
    this.#reader = new PacketReader(Math.min(LIMITS.unauthenticatedBytes, limits.maxPacketBytes));
    connection.on('data', this.#onData);
    connection.on('end', this.#onEnd);
    connection.on('error', this.#onError);
    connection.on('close', this.#onClose);
    if (connection.destroyed) this.#onClose();
    else this.#setTimer();
  }

  /** Resolves with the credentials of the CONNECT packet, or undefined if the connection ends before. Call it once: the credentials are not kept. */
  credentials(): Promise<Credentials | undefined> {
    if (this.#endedWith !== undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#onCredentials = resolve;
    });
  }

  /** The reason why the link ended; undefined while it is open. */
  get endedWith(): CulvertError | undefined {
    return this.#endedWith;
  }

  get takesOffers(): boolean {
    return this.#session.takesOffers;
  }

  /** Sends CONNACK to the device, whose authentication is valid until `expiresAt`. {@link release} must be called next. */
  accept(expiresAt: number, listener: MqttLinkListener): void {
    this.#listener = listener;
    this.#run((now) => this.#session.accept(now, expiresAt));
  }

  /** Handles the packets that the device sent before it received CONNACK, and resumes reading. */
  release(): void {
    this.#run((now) => this.#session.release(now));
    if (this.#endedWith === undefined) this.#connection.resume();
  }

  /** @throws CulvertError `device_gone`, `too_many_requests`, `too_large` */
  offer(offer: Offer): string {
    const { requestId, effects } = this.#session.offer(offer);
    this.#run(() => effects);
    return requestId;
  }

  withdraw(requestId: string): void {
    this.#session.withdraw(requestId);
  }

  /** Ends the link, and sends the device the reason if the protocol supports this. Idempotent. */
  end(error: CulvertError): void {
    this.#run(() => this.#session.end(error));
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      for (const packet of this.#reader.push(chunk)) {
        this.#run((now) => this.#session.receive(packet, now));
        if (this.#endedWith !== undefined) return;
      }
    } catch (reason) {
      const error = CulvertError.from(reason);
      const { level } = this.#reader;
      if (error.code === 'protocol_unsupported' && level !== undefined)
        this.#run(() => this.#session.endUnsupported(error, level));
      else this.end(error);
    }
  };

  readonly #onEnd = (): void => this.#lost(new CulvertError('device_gone', 'The device closed the connection.'));

  readonly #onError = (error: Error): void => this.#lost(lossOf(error));

  readonly #onClose = (): void => {
    this.#lost(new CulvertError('device_gone', 'The connection was lost.'));
    this.#timer?.cancel();
  };

  #lost(error: CulvertError): void {
    this.#run(() => this.#session.lost(error));
  }

  /** Runs one step of the session and carries out its effects in order. An internal error ends only this link. */
  #run(step: (now: number) => HubEffect[]): void {
    try {
      for (const effect of step(this.#clock.now())) this.#apply(effect);
    } catch (reason) {
      for (const effect of this.#session.lost(CulvertError.from(reason))) this.#apply(effect);
    }
    if (this.#endedWith === undefined) this.#setTimer();
  }

  #apply(effect: HubEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#write(encodePacket(effect.packet, this.#session.version));
        return;
      case 'authenticate':
        // Reading pauses until the device is authenticated, so that the hub buffers at most one chunk from an unauthenticated client, even if a packet
        // is longer.
        this.#reader.limit(this.#maxPacketBytes);
        this.#connection.pause();
        this.#resolveCredentials(effect.credentials);
        return;
      case 'offers-changed':
        this.#listener?.offersChanged();
        return;
      case 'answer':
        this.#listener?.answered(effect.requestId, effect);
        return;
      case 'announced':
        this.#listener?.announced(effect.text);
        return;
      case 'session-report':
        this.#listener?.sessionReported(effect.text);
        return;
      case 'end':
        this.#end(effect.error);
    }
  }

  #resolveCredentials(credentials: Credentials | undefined): void {
    this.#onCredentials?.(credentials);
    this.#onCredentials = undefined;
  }

  #write(bytes: Buffer): void {
    const connection = this.#connection;
    if (connection.destroyed || !connection.writable) return;
    this.#unflushed++;
    connection.write(bytes, this.#onFlushed);
    if (connection.writableLength <= this.#maxQueuedBytes) return;
    for (const effect of this.#session.lost(new CulvertError('stalled', 'The device does not read.')))
      this.#apply(effect);
    connection.destroy();
  }

  readonly #onFlushed = (): void => {
    this.#unflushed--;
    if (this.#endedWith !== undefined && this.#unflushed === 0) this.#close(this.#endedWith);
  };

  /** Ends the link. Packets are no longer handled, but the connection must still be read, so that the peer's close is noticed. */
  #end(error: CulvertError): void {
    this.#endedWith = error;
    this.#timer?.cancel();
    const connection = this.#connection;
    connection.off('data', this.#onData);
    this.#resolveCredentials(undefined);
    this.#listener?.ended(error);
    if (connection.destroyed) return;
    connection.resume();
    this.#timer = this.#clock.setTimer(CLOSE_MS, () => connection.destroy());
    if (this.#unflushed === 0) this.#close(error);
  }

  /**
   * Closes the connection after the last packet was sent. Over WebSocket the close code also gives the reason, except if the device itself closed the
   * connection. Over TLS there is no such code.
   */
  #close(error: CulvertError): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.#protocol === 'mqtt-ws' && error.code !== 'device_gone') connection.destroy(error);
    else connection.end();
  }

  #setTimer(): void {
    const { deadline } = this.#session;
    // If the deadline moved to a later time, the timer is set again only when it fires, so that not every packet sets a timer.
    if (deadline === undefined || deadline >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = deadline;
    this.#timer = this.#clock.setTimer(Math.max(0, deadline - this.#clock.now()), () => {
      this.#timerDue = Number.POSITIVE_INFINITY;
      this.#run((now) => this.#session.tick(now));
    });
  }
}
