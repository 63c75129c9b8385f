import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import type { DeviceOffer } from '@culvert/protocol/mqtt';
import {
  abortReason,
  assertGateway,
  type Clock,
  type DialStreamOptions,
  dialStream,
  dialStreamWebSocket,
  type KnownHub,
  linkSignals,
  type OutboundOptions,
  type Timer,
} from '@culvert/stream';
import type { WebSocket } from 'ws';

/** Cancels opening an accepted stream. */
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
   * Connects to the gateway, accepts the offer as soon as the connection has begun, and resolves once the gateway has admitted this side. A failure
   * before the acceptance, such as a lack of file descriptors, rejects the offer with the reason. The Duplex holds what the service has sent since; it ends when the
   * service ends its direction, and emits a CulvertError when it was aborted. `end()` ends this side's direction and still reads the service's; call
   * it also after the service has ended, or the stream fails after `halfCloseMs`. `destroy()` hangs up.
   * @throws CulvertError `handshake_timeout`, `withdrawn`, `unreachable`, `untrusted` (also when the hub names a host that is not an allowed gateway), `grant_invalid`;
   *   the signal's reason, else `aborted`
   */
  accept(options?: AcceptOptions): Promise<Duplex>;
  /**
   * Low-level form of {@link accept}: the WebSocket itself, paused so that nothing is lost; add listeners, then call `resume()`. It answers a
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
  readonly hub: KnownHub;
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
  /** Aborts accepting when the hub withdraws the offer meanwhile. */
  readonly #takenBack = new AbortController();
  /** Makes the error for a second answer. A function, since most offers are answered once and never need it. */
  #decided: (() => CulvertError) | undefined;
  /** The hub has received the answer, or never will. */
  #settled = false;

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
    return this.#accept(options, dialStream);
  }

  async acceptWebSocket(options: AcceptOptions = {}): Promise<WebSocket> {
    return this.#accept(options, dialStreamWebSocket);
  }

  async reject(reason?: string): Promise<void> {
    this.#decide('rejected');
    this.#answer(false, reason);
  }

  /** Whether the program has yet to answer. */
  get pending(): boolean {
    return this.#decided === undefined;
  }

  /** Rejects it, also while it is being accepted. */
  withdraw(reason: string): void {
    this.#answer(false, reason);
    this.settle(() => new CulvertError('withdrawn', reason));
  }

  /** From now on an answer throws this error. */
  settle(why: () => CulvertError): void {
    if (this.#settled) return;
    this.#decided ??= why;
    this.#settle();
    this.#takenBack.abort(why());
  }

  async #accept<T>({ signal }: AcceptOptions, dial: Dial<T>): Promise<T> {
    if (signal?.aborted) throw abortReason(signal);
    this.#decide('accepted');
    const { outbound, clock, hub, halfCloseMs } = this.#context;
    const linked = linkSignals([signal, this.#takenBack.signal]);
    try {
      assertGateway(this.#offer.grant.url, 'device', hub, outbound.gateways);
      // Accept only now: a process without file descriptors would have accepted a stream that it cannot open.
      const onUnderWay = (): void => this.#answer(true);
      return await dial(this.#offer.grant, {
        ...{ outbound, clock, signal: linked.signal, onUnderWay },
        ...(halfCloseMs === undefined ? {} : { halfCloseMs }),
      });
    } catch (error) {
      this.#answer(false, CulvertError.from(error).message);
      throw error;
    } finally {
      linked.unlink();
    }
  }

  #decide(how: 'accepted' | 'rejected'): void {
    if (this.#decided !== undefined) throw this.#decided();
    this.#decided = () => new CulvertError('argument_invalid', `The offer has already been ${how}.`);
  }

  /** Answers, unless that was done. */
  #answer(accepted: boolean, reason?: string): void {
    if (this.#settled) return;
    this.#settle();
    const { requestId } = this.#offer;
    this.#context.answer({ requestId, accepted, ...(reason === undefined ? {} : { reason }) });
  }

  #settle(): void {
    this.#settled = true;
    this.#expiry.cancel();
    this.#context.onSettled(this);
  }
}

type Dial<T> = (grant: Grant, options: DialStreamOptions & { readonly halfCloseMs?: number }) => Promise<T>;
