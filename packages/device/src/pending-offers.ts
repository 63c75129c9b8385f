import { CulvertError } from '@culvert/protocol';
import type { DeviceOffer } from '@culvert/protocol/mqtt';
import type { Clock, KnownHub, OutboundOptions } from '@culvert/stream';
import type { ControlConnection } from './control-connection.ts';
import { PendingOffer, type StreamOffer } from './stream-offer.ts';

/** Offers of one connection that may await an answer at once: more than a person opens, little enough to hold. */
const MAX_PENDING = 256;

/** What is done with every offer, whichever connection it comes by. */
export interface OfferHandling {
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
  readonly clock: Clock;
  readonly outbound: OutboundOptions;
}

/** The offers that came by one connection and are not answered yet. */
export class PendingOffers {
  readonly #handling: OfferHandling;
  readonly #hub: KnownHub;
  readonly #pending = new Set<PendingOffer>();
  #onEmpty: (() => void) | undefined;

  /** @param hub whose offers they are */
  constructor(handling: OfferHandling, hub: KnownHub) {
    this.#handling = handling;
    this.#hub = hub;
  }

  /** Hands an offer to the program. `connection` is the one it came by and its answer goes back on. */
  receive(message: DeviceOffer, connection: ControlConnection): void {
    if (this.#pending.size >= MAX_PENDING) {
      connection.answer({ requestId: message.requestId, accepted: false, reason: 'too many offers' });
      return;
    }
    const offer = new PendingOffer(message, {
      clock: this.#handling.clock,
      outbound: this.#handling.outbound,
      hub: this.#hub,
      answer: (answer) => connection.answer(answer),
      onSettled: () => this.#settled(offer),
    });
    this.#pending.add(offer);
    void this.#handle(offer);
  }

  /** Calls back once, as soon as no answer is awaited; at once when none is. Takes the place of an earlier call. */
  whenEmpty(callback: (() => void) | undefined): void {
    this.#onEmpty = callback;
    if (this.#pending.size === 0) this.#emptied();
  }

  /** Rejects what is pending: the device is about to leave. */
  rejectAll(reason: string): void {
    for (const offer of this.#pending) offer.withdraw(reason);
  }

  /** The connection is gone, and with it the way for an answer. */
  abandon(): void {
    const why = () => new CulvertError('withdrawn', 'The connection to the hub ended before the offer was answered.');
    for (const offer of this.#pending) offer.settle(why);
  }

  async #handle(offer: PendingOffer): Promise<void> {
    try {
      await this.#handling.onStream(offer);
      if (offer.pending) await offer.reject('The device did not answer the offer.');
    } catch (error) {
      // Another error's text is not ours to send to a stranger; it is a fault of the program, which must hear of it.
      const ours = error instanceof CulvertError;
      if (!ours) process.emitWarning(error instanceof Error ? error : new Error(String(error)));
      if (offer.pending) await offer.reject(ours ? error.message : 'The device failed to handle the offer.');
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
