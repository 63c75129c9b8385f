import { CulvertError } from '@culvert/protocol';
import type { DeviceOffer } from '@culvert/protocol/mqtt';
import type { Clock, KnownHub, OutboundOptions } from '@culvert/stream';
import type { ControlConnection } from './control-connection.ts';
import { PendingOffer, type StreamOffer } from './stream-offer.ts';

/** Maximum unanswered offers of one connection: more than a user needs at once, and few enough to keep in memory. */
const MAX_PENDING = 256;

/** How offers are handled, the same for all connections of a client. */
export interface OfferHandling {
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
  readonly clock: Clock;
  readonly outbound: OutboundOptions;
  readonly halfCloseMs: number | undefined;
}

/** The unanswered offers of one connection. */
export class PendingOffers {
  readonly #handling: OfferHandling;
  readonly #hub: KnownHub;
  readonly #pending = new Set<PendingOffer>();
  #onEmpty: (() => void) | undefined;

  /** @param hub the hub that sends the offers */
  constructor(handling: OfferHandling, hub: KnownHub) {
    this.#handling = handling;
    this.#hub = hub;
  }

  /** Passes an offer to the program. `connection` is the connection on which it was received and on which its answer is sent. */
  receive(message: DeviceOffer, connection: ControlConnection): void {
    if (this.#pending.size >= MAX_PENDING) {
      connection.answer({ requestId: message.requestId, accepted: false, reason: 'too many offers' });
      return;
    }
    const offer = new PendingOffer(message, {
      clock: this.#handling.clock,
      outbound: this.#handling.outbound,
      hub: this.#hub,
      halfCloseMs: this.#handling.halfCloseMs,
      answer: (answer) => connection.answer(answer),
      onSettled: () => this.#settled(offer),
    });
    this.#pending.add(offer);
    void this.#handle(offer);
  }

  /** Calls `callback` once, as soon as no offer is pending, possibly at once. Replaces the callback of an earlier call; undefined removes it. */
  whenEmpty(callback: (() => void) | undefined): void {
    this.#onEmpty = callback;
    if (this.#pending.size === 0) this.#emptied();
  }

  /** Rejects pending offers: the device is about to disconnect. */
  rejectAll(reason: string): void {
    for (const offer of this.#pending) offer.withdraw(reason);
  }

  /** The connection is closed, so pending offers can no longer be answered. */
  abandon(): void {
    const why = () => new CulvertError('withdrawn', 'The connection to the hub ended before the offer was answered.');
    for (const offer of this.#pending) offer.settle(why);
  }

  async #handle(offer: PendingOffer): Promise<void> {
    try {
      await this.#handling.onStream(offer);
      if (offer.pending) await offer.reject('The device did not answer the offer.');
    } catch (error) {
      // Any other error is a bug of this program. It is reported here as a warning, and its text must not be sent to the service.
      const isCulvertError = error instanceof CulvertError;
      if (!isCulvertError) process.emitWarning(error instanceof Error ? error : new Error(String(error)));
      if (offer.pending) await offer.reject(isCulvertError ? error.message : 'The device failed to handle the offer.');
    }
  }

  #settled(offer: PendingOffer): void {
    this.#pending.delete(offer);
    if (this.#pending.size === 0) this.#emptied();
  }

  #emptied(): void {
    const callback = this.#onEmpty;
    this.#onEmpty = undefined;
    callback?.();
  }
}
