import { CulvertError } from '../errors.ts';
import type { IPublishPacket } from './codec.ts';

/** QoS 1 publications sent and not acknowledged, whatever larger Receive Maximum a device names: their ids are kept. */
const MAX_IN_FLIGHT = 1024;

/** The offers made on one connection and not yet answered, and the flow control of those sent with QoS 1 (MQTT 5 §4.9). */
export class PendingOffers {
  readonly #maxOffers: number;
  readonly #maxInFlight: number;
  #lastRequest = 0;
  #lastMessage = 0;
  /** Request ids without an answer. */
  readonly #pending = new Set<string>();
  /** Of those, the publications that wait for an acknowledgement of an earlier one, in order. */
  readonly #waiting = new Map<string, IPublishPacket>();
  /** Message ids without an acknowledgement; an answered or withdrawn offer's stays until the device acknowledges it. */
  readonly #inFlight = new Set<number>();

  constructor(options: { maxOffers: number; receiveMaximum: number }) {
    this.#maxOffers = options.maxOffers;
    this.#maxInFlight = Math.min(options.receiveMaximum, MAX_IN_FLIGHT);
  }

  /** A new request id: a small integer, as Azure uses. @throws CulvertError `too_many_requests` */
  newRequest(): string {
    if (this.#pending.size >= this.#maxOffers)
      throw new CulvertError('too_many_requests', 'Too many stream requests await an answer of this device.');
    this.#lastRequest++;
    return String(this.#lastRequest);
  }

  /** Adds an offer; returns its publication if it may be sent now, else queues it until {@link acknowledge}. */
  enter(requestId: string, publication: IPublishPacket): IPublishPacket | undefined {
    this.#pending.add(requestId);
    if (publication.qos === 0) return publication;
    if (this.#inFlight.size < this.#maxInFlight) return this.#numbered(publication);
    this.#waiting.set(requestId, publication);
    return undefined;
  }

  /** The device acknowledged a message; returns the queued publication that may be sent now. Unknown ids are ignored. */
  acknowledge(messageId: number): IPublishPacket | undefined {
    if (!this.#inFlight.delete(messageId)) return undefined;
    for (const [requestId, publication] of this.#waiting) {
      this.#waiting.delete(requestId);
      return this.#numbered(publication);
    }
    return undefined;
  }

  /** Removes an answered or withdrawn offer; returns whether it existed. */
  remove(requestId: string): boolean {
    this.#waiting.delete(requestId);
    return this.#pending.delete(requestId);
  }

  #numbered(publication: IPublishPacket): IPublishPacket {
    do {
      this.#lastMessage = (this.#lastMessage % 65_535) + 1;
    } while (this.#inFlight.has(this.#lastMessage));
    this.#inFlight.add(this.#lastMessage);
    return { ...publication, messageId: this.#lastMessage };
  }
}
