import { CulvertError } from '../errors.ts';
import type { IPublishPacket } from './codec.ts';

/** Maximum unacknowledged QoS 1 publications, even if a device sets a larger Receive Maximum, because their ids are kept in memory. */
const MAX_IN_FLIGHT = 1024;

/** The unanswered offers of one connection, and the flow control for offers sent with QoS 1 (MQTT 5 §4.9). */
export class PendingOffers {
  readonly #maxOffers: number;
  readonly #maxInFlight: number;
  #lastRequest = 0;
  #lastMessage = 0;
  /** Request ids of unanswered offers. */
  readonly #pending = new Set<string>();
  /** The publications of unanswered offers that are queued until an earlier publication is acknowledged, by request id, oldest first. */
  readonly #waiting = new Map<string, IPublishPacket>();
  /** Unacknowledged message ids. The id of an answered or withdrawn offer stays until the device acknowledges it. */
  readonly #inFlight = new Set<number>();

  constructor(options: { maxOffers: number; receiveMaximum: number }) {
    this.#maxOffers = options.maxOffers;
    this.#maxInFlight = Math.min(options.receiveMaximum, MAX_IN_FLIGHT);
  }

  /** Makes a new request id: a small integer, as in Azure. @throws CulvertError `too_many_requests` */
  newRequest(): string {
    if (this.#pending.size >= this.#maxOffers)
      throw new CulvertError('too_many_requests', 'Too many stream requests await an answer of this device.');
    this.#lastRequest++;
    return String(this.#lastRequest);
  }

  /** Adds an offer. Returns its publication if it may be sent now; otherwise queues it until {@link acknowledge} returns it. */
  enter(requestId: string, publication: IPublishPacket): IPublishPacket | undefined {
    this.#pending.add(requestId);
    if (publication.qos === 0) return publication;
    if (this.#inFlight.size < this.#maxInFlight) return this.#numbered(publication);
    this.#waiting.set(requestId, publication);
    return undefined;
  }

  /** Handles the acknowledgement of a message. Returns the queued publication that may be sent now, if any. Unknown ids are ignored. */
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
