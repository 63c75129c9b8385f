import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import type { DeviceOffer } from '@culvert/protocol/mqtt';
import {
  abortReason,
  type Clock,
  type DialOptions,
  dialStream,
  dialStreamWebSocket,
  type OutboundOptions,
  type Timer,
} from '@culvert/stream';
import type { WebSocket } from 'ws';

/** Cancels the opening of an accepted stream. */
export interface AcceptOptions {
  readonly signal?: AbortSignal;
}

/** A stream that a service asks for. Answer it once, within a minute. Every method rejects with a CulvertError. */
export interface StreamOffer {
  /** The stream's name. */
  readonly name: string;
  /** The stream's id in the hub's logs; undefined when the hub does not tell. */
  readonly streamId: string | undefined;
  /** The name of the credential the service uses, such as `policy:service`; undefined when the hub does not tell. */
  readonly caller: string | undefined;
  /**
   * Accepts, and resolves once the hub has let this side in. The Duplex holds what the service has sent since; it ends when the
   * service ends its direction, and errors (CulvertError) when it was torn. `end()` ends this side's direction and still reads the service's; call
   * it also after the service has ended, or the stream fails after `halfCloseMs`. `destroy()` hangs up.
   * @throws CulvertError `handshake_timeout`, `withdrawn`, `unreachable`, `untrusted`, `grant_invalid`; the signal's reason, else `aborted`
   */
  accept(options?: AcceptOptions): Promise<Duplex>;
  /**
   * The low-level form of {@link accept}: the WebSocket itself, paused so that nothing is lost; add listeners, then call `resume()`. It answers a
   * Close at once, as `ws` does, so it cannot go on sending after the service has ended: see {@link accept} for that.
   */
  acceptWebSocket(options?: AcceptOptions): Promise<WebSocket>;
  /** Rejects. The service is told `reason`, of which at most 512 bytes are sent. */
  reject(reason?: string): Promise<void>;
}

/** What an offer needs of the connection it came by. */
export interface OfferContext {
  readonly clock: Clock;
  readonly outbound: OutboundOptions;
  /** As `DeviceClientOptions` has it. */
  readonly halfCloseMs: number | undefined;
  /** Sends the answer. */
  readonly answer: (answer: { requestId: string; accepted: boolean; reason?: string }) => void;
  /** The offer has been answered, or never will be. */
  readonly onSettled: (offer: PendingOffer) => void;
}

/** An offer until it is answered, expires, or loses the connection that its answer would go by. */
export class PendingOffer implements StreamOffer {
  readonly name: string;
  readonly streamId: string | undefined;
  readonly caller: string | undefined;
  readonly #offer: DeviceOffer;
  readonly #context: OfferContext;
  readonly #expiry: Timer;
  /** Why it can be answered no more. Most offers are answered once, and their error is never made. */
  #settled: (() => CulvertError) | undefined;

  constructor(offer: DeviceOffer, context: OfferContext) {
    this.name = offer.streamName;
    this.streamId = offer.streamId;
    this.caller = offer.caller;
    this.#offer = offer;
    this.#context = context;
    this.#expiry = context.clock.setTimer(LIMITS.handshakeMs, () =>
      this.settle(() => new CulvertError('handshake_timeout', 'The offer was not answered in time.')),
    );
  }

  async accept(options: AcceptOptions = {}): Promise<Duplex> {
    this.#accept(options);
    return dialStream(this.#offer, this.#dialOptions(options));
  }

  async acceptWebSocket(options: AcceptOptions = {}): Promise<WebSocket> {
    this.#accept(options);
    return dialStreamWebSocket(this.#offer, this.#dialOptions(options));
  }

  async reject(reason?: string): Promise<void> {
    this.#answer(false, reason);
  }

  /** Whether an answer is still awaited. */
  get pending(): boolean {
    return this.#settled === undefined;
  }

  /** Takes the chance to answer away. */
  settle(why: () => CulvertError): void {
    if (this.#settled !== undefined) return;
    this.#settled = why;
    this.#expiry.cancel();
    this.#context.onSettled(this);
  }

  #accept({ signal }: AcceptOptions): void {
    if (signal?.aborted) throw abortReason(signal);
    this.#answer(true);
  }

  #answer(accepted: boolean, reason?: string): void {
    if (this.#settled !== undefined) throw this.#settled();
    this.settle(
      () => new CulvertError('argument_invalid', `The offer has already been ${accepted ? 'accepted' : 'rejected'}.`),
    );
    const { requestId } = this.#offer;
    this.#context.answer({ requestId, accepted, ...(reason === undefined ? {} : { reason }) });
  }

  #dialOptions({ signal }: AcceptOptions): DialOptions & { readonly clock: Clock; readonly halfCloseMs?: number } {
    const { outbound, clock, halfCloseMs } = this.#context;
    return {
      outbound,
      clock,
      ...(halfCloseMs === undefined ? {} : { halfCloseMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}
