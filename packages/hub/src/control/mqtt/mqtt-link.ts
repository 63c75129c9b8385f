import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS, type Offer, type SessionAnswer } from '@culvert/protocol';
import { type Credentials, encodePacket, type HubEffect, HubSession, PacketReader } from '@culvert/protocol/mqtt';
import type { Clock, Timer } from '@culvert/stream';
import type { ControlProtocol } from '../../observe/listener.ts';
import { lossOf } from '../connection-loss.ts';
import type { ControlLimits } from '../control-channel.ts';

/** Told what the device does once it is let in. */
export interface MqttLinkListener {
  offersChanged(): void;
  answered(requestId: string, answer: { accepted: boolean; reason: string; session: SessionAnswer | undefined }): void;
  announced(text: string): void;
  sessionReported(text: string): void;
  ended(error: CulvertError): void;
}

/** Milliseconds a connection gets to take the last packet and close, before it is cut. */
const FAREWELL_MS = 2_000;

/** One device's connection: moves bytes and time into a {@link HubSession} and carries out what it wants done. */
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
  /** Writes not yet taken by the layer below. */
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
    else this.#arm();
  }

  /** Resolves with the credentials of the CONNECT packet; undefined when the connection ends before one comes. Call it once: they are not kept. */
  credentials(): Promise<Credentials | undefined> {
    if (this.#endedWith !== undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#onCredentials = resolve;
    });
  }

  /** Why the link ended; undefined while it lives. */
  get endedWith(): CulvertError | undefined {
    return this.#endedWith;
  }

  get takesOffers(): boolean {
    return this.#session.takesOffers;
  }

  /** The device has proved who it is, until `expiresAt`: it gets its CONNACK. {@link release} is to follow. */
  accept(expiresAt: number, listener: MqttLinkListener): void {
    this.#listener = listener;
    this.#run((now) => this.#session.accept(now, expiresAt));
  }

  /** Lets in what the device sent before it had its CONNACK, and all that follows. */
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

  /** Ends the link, telling the device why where it can. Idempotent. */
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

  /** Carries out the session's actions in order; a fault of the hub ends only this link. */
  #run(step: (now: number) => HubEffect[]): void {
    try {
      for (const effect of step(this.#clock.now())) this.#apply(effect);
    } catch (reason) {
      for (const effect of this.#session.lost(CulvertError.from(reason))) this.#apply(effect);
    }
    if (this.#endedWith === undefined) this.#arm();
  }

  #apply(effect: HubEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#write(encodePacket(effect.packet, this.#session.version));
        return;
      case 'authenticate':
        // Reading pauses until the device is authenticated, so an unauthenticated client makes the hub buffer one chunk at most, also of a longer packet.
        this.#reader.limit(this.#maxPacketBytes);
        this.#connection.pause();
        this.#credentialsCame(effect.credentials);
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

  #credentialsCame(credentials: Credentials | undefined): void {
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

  /** Nothing is read any more, but what arrives must pass for the peer's goodbye to be noticed. */
  #end(error: CulvertError): void {
    this.#endedWith = error;
    this.#timer?.cancel();
    const connection = this.#connection;
    connection.off('data', this.#onData);
    this.#credentialsCame(undefined);
    this.#listener?.ended(error);
    if (connection.destroyed) return;
    connection.resume();
    this.#timer = this.#clock.setTimer(FAREWELL_MS, () => connection.destroy());
    if (this.#unflushed === 0) this.#close(error);
  }

  /**
   * Closes the transport once the last packet is out. Over WebSocket the close code tells the reason too, except to a device
   * that left by itself; TLS has only its end.
   */
  #close(error: CulvertError): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.#protocol === 'mqtt-ws' && error.code !== 'device_gone') connection.destroy(error);
    else connection.end();
  }

  #arm(): void {
    const { deadline } = this.#session;
    // A deadline that moved later is noticed when the timer fires: no timer is set per packet.
    if (deadline === undefined || deadline >= this.#timerDue) return;
    this.#timer?.cancel();
    this.#timerDue = deadline;
    this.#timer = this.#clock.setTimer(Math.max(0, deadline - this.#clock.now()), () => {
      this.#timerDue = Number.POSITIVE_INFINITY;
      this.#run((now) => this.#session.tick(now));
    });
  }
}
