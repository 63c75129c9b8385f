import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import {
  type DeviceAnswer,
  type DeviceEffect,
  type DeviceOffer,
  type DeviceSession,
  encodePacket,
  PacketReader,
} from '@culvert/protocol/mqtt';
import type { Clock, Timer } from '@culvert/stream';

/** Callbacks of a connection. */
export interface ControlConnectionListener {
  /** The device is attached: offers may arrive. Called at most once. */
  onAttached(): void;
  onOffer(offer: DeviceOffer): void;
  /** The connection has ended. Called exactly once, but never if the owner ended the connection. */
  onEnd(error: CulvertError): void;
}

/** One MQTT control channel on one connection: passes received packets and elapsed timers to a {@link DeviceSession} and performs its effects. */
export class ControlConnection {
  readonly #duplex: Duplex;
  readonly #session: DeviceSession;
  readonly #clock: Clock;
  readonly #listener: ControlConnectionListener;
  readonly #reader: PacketReader;
  #timer: Timer | undefined;
  #ended = false;

  /** Sends CONNECT immediately. */
  constructor(duplex: Duplex, session: DeviceSession, clock: Clock, listener: ControlConnectionListener) {
    this.#duplex = duplex;
    this.#session = session;
    this.#clock = clock;
    this.#listener = listener;
    this.#reader = new PacketReader(LIMITS.mqttPacketBytes, session.version);
    duplex.on('data', (chunk: Buffer) => this.#receive(chunk));
    duplex.on('end', () => this.#end(new CulvertError('stream_lost', 'The hub closed the connection.')));
    duplex.on('error', (error) => this.#end(CulvertError.from(error, 'stream_lost', 'The connection was lost.')));
    duplex.on('close', () => this.#end(new CulvertError('stream_lost', 'The connection was lost.')));
    this.#perform(session.open(clock.now()));
  }

  /** Whether the connection can still send an answer. */
  get live(): boolean {
    return !this.#ended;
  }

  /** Answers an offer that was received on this connection. */
  answer(answer: DeviceAnswer): void {
    this.#perform(this.#session.answer(answer, this.#clock.now()));
  }

  /** Announces what the device can do, in the place of what it announced before. No effect before it is attached. */
  announce(text: string): void {
    this.#perform(this.#session.announce(text, this.#clock.now()));
  }

  /** Reports on the connections of a session. No effect before it is attached. */
  report(text: string): void {
    this.#perform(this.#session.report(text, this.#clock.now()));
  }

  /** Disconnects; resolves when the connection is closed. Idempotent, never rejects. */
  close(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      if (this.#duplex.closed) resolve();
      else this.#duplex.once('close', resolve);
    });
    this.#perform(this.#session.close(this.#clock.now()));
    return gone;
  }

  /** Ends the connection now. Idempotent. */
  destroy(error: CulvertError): void {
    this.#finish();
    this.#duplex.destroy(error);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const packet of this.#reader.push(chunk)) this.#perform(this.#session.receive(packet, this.#clock.now()));
    } catch (error) {
      this.#end(CulvertError.from(error, 'protocol_error'));
    }
  }

  #perform(effects: readonly DeviceEffect[]): void {
    for (const effect of effects) {
      if (this.#ended) return;
      switch (effect.kind) {
        case 'send':
          // No back-pressure is needed, because output is limited to one answer per offer and one ping per interval.
          this.#duplex.write(encodePacket(effect.packet, this.#session.version));
          break;
        case 'attached':
          this.#listener.onAttached();
          break;
        case 'offer':
          this.#listener.onOffer(effect.offer);
          break;
        case 'end':
          if (effect.error !== undefined) this.#end(effect.error);
          else this.#endCleanly();
      }
    }
    this.#arm();
  }

  /** Sets the timer to the session's deadline, which may have become earlier or later. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const due = this.#session.deadline;
    if (this.#ended || due === undefined) return;
    const now = this.#clock.now();
    this.#timer = this.#clock.setTimer(Math.max(0, due - now), () =>
      this.#perform(this.#session.tick(this.#clock.now())),
    );
  }

  #endCleanly(): void {
    this.#finish();
    this.#duplex.end();
    // Discard further data, because 'end' is emitted only when all data has been read.
    this.#duplex.resume();
  }

  #end(error: CulvertError): void {
    if (this.#ended) return;
    this.destroy(error);
    this.#listener.onEnd(error);
  }

  #finish(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
