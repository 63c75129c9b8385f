import type { Duplex } from 'node:stream';
import {
  CulvertError,
  isVersionWithin,
  LIMITS,
  type OfferedServices,
  readMilliseconds,
  readOfferedServices,
  readSessionRequest,
  type SessionAnswer,
  type SessionRequest,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import type { DeviceAnswer, DeviceOffer } from '@culvert/protocol/mqtt';
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

export interface AcceptOptions {
  /** Cancels the opening of an accepted stream. */
  readonly signal?: AbortSignal;
  /**
   * The session that the stream is to carry, in answer to the offer's `session`. Default none: the stream is raw. The hub tells the service what was
   * chosen.
   */
  readonly session?: SessionAnswer | undefined;
}

/** A stream that a service requests. Answer it once, within a minute. Every method rejects with a CulvertError. */
export interface StreamOffer {
  /** The stream's name. */
  readonly name: string;
  /** The stream's id in the hub's logs; undefined if the hub does not send it. */
  readonly streamId: string | undefined;
  /** The name of the service's credential, such as `policy:service`; undefined if the hub does not send it. */
  readonly caller: string | undefined;
  /** The id of the session that the stream is a connection in; undefined for a stream of its own. */
  readonly sessionId?: string | undefined;
  /** The session that the service asks for; undefined if it asks for none, or the device has not announced that it knows sessions. */
  readonly session?: SessionRequest | undefined;
  /** The services that the caller may open in the session, by the hub's word: `*` means all. Undefined if the hub does not say. */
  readonly services?: OfferedServices | undefined;
  /** Milliseconds without a byte after which the hub ends the stream; undefined without a session, and without such a limit. */
  readonly idleMs?: number | undefined;
  /**
   * Connects to the gateway, accepts the offer as soon as the connection has a file descriptor, and resolves when the gateway has accepted the
   * connection. A failure before the offer is accepted, such as a lack of file descriptors, rejects the offer with the reason.
   *
   * The Duplex buffers the data that the service has sent since. It ends when the service ends its direction, and emits a CulvertError if the
   * stream is aborted. `end()` ends this side's direction; the service's data can still be read. Call `end()` also after the service has ended,
   * otherwise the stream fails after `halfCloseMs`. `destroy()` aborts the stream.
   * @throws CulvertError `handshake_timeout`, `withdrawn`, `unreachable`, `untrusted` (also if the hub names a host that is not an allowed gateway),
   *   `grant_invalid`; `argument_invalid` for a session that the offer does not allow; the signal's reason, else `aborted`
   */
  accept(options?: AcceptOptions): Promise<Duplex>;
  /**
   * Low-level form of {@link accept}: resolves with the WebSocket itself, paused so that no message is lost; add listeners, then call `resume()`.
   * It answers a Close at once, as `ws` does, and so cannot send after the service has ended; use {@link accept} for that.
   */
  acceptWebSocket(options?: AcceptOptions): Promise<WebSocket>;
  /** Rejects the offer. At most 512 bytes of `reason` are sent to the service. */
  reject(reason?: string): Promise<void>;
}

/** What an offer uses of the connection on which it was received. */
export interface OfferContext {
  readonly clock: Clock;
  readonly outbound: OutboundOptions;
  readonly hub: KnownHub;
  /** See `DeviceClientOptions.halfCloseMs`. */
  readonly halfCloseMs: number | undefined;
  /** Sends the answer. */
  readonly answer: (answer: DeviceAnswer) => void;
  /** Called when the offer has been answered or can no longer be answered. */
  readonly onSettled: (offer: PendingOffer) => void;
}

/** An offer, until it is answered, expires, or loses the connection on which its answer would be sent. */
export class PendingOffer implements StreamOffer {
  readonly name: string;
  readonly streamId: string | undefined;
  readonly caller: string | undefined;
  readonly session: SessionRequest | undefined;
  readonly services: OfferedServices | undefined;
  readonly idleMs: number | undefined;
  readonly #offer: DeviceOffer;
  readonly #context: OfferContext;
  readonly #expiry: Timer;
  /** Aborts accepting if the offer expires, is withdrawn, or its connection ends. */
  readonly #aborted = new AbortController();
  /** Creates the error for a further answer; undefined while the offer may be answered. A function, because most offers never need the error. */
  #answerError: (() => CulvertError) | undefined;
  /** The answer has been sent, or can no longer be sent. */
  #settled = false;

  constructor(offer: DeviceOffer, context: OfferContext) {
    this.name = offer.streamName;
    this.streamId = offer.streamId;
    this.caller = offer.caller;
    this.session = readSessionRequest(offer.session);
    this.services = offer.services === undefined ? undefined : readOfferedServices(offer.services);
    this.idleMs = readMilliseconds(offer.idleMs);
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
    this.#markAnswered('rejected');
    this.#answer(false, reason);
  }

  /** Whether the offer may still be answered. */
  get pending(): boolean {
    return this.#answerError === undefined;
  }

  /** Rejects the offer, even while it is being accepted. */
  withdraw(reason: string): void {
    this.#answer(false, reason);
    this.settle(() => new CulvertError('withdrawn', reason));
  }

  /** Makes every later answer throw this error, and aborts accepting. */
  settle(why: () => CulvertError): void {
    if (this.#settled) return;
    this.#answerError ??= why;
    this.#settle();
    this.#aborted.abort(why());
  }

  async #accept<T>({ signal, session }: AcceptOptions, dial: Dial<T>): Promise<T> {
    if (signal?.aborted) throw abortReason(signal);
    this.#assertAllowed(session);
    this.#markAnswered('accepted');
    const { outbound, clock, hub, halfCloseMs } = this.#context;
    const linked = linkSignals([signal, this.#aborted.signal]);
    try {
      assertGateway(this.#offer.grant.url, 'device', hub, outbound.gateways);
      // Accept only when the connection has its file descriptor. Otherwise a process without free descriptors would accept a stream that it cannot open.
      const onUnderWay = (): void => this.#answer(true, undefined, session);
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

  #markAnswered(how: 'accepted' | 'rejected'): void {
    if (this.#answerError !== undefined) throw this.#answerError();
    this.#answerError = () => new CulvertError('argument_invalid', `The offer has already been ${how}.`);
  }

  #assertAllowed(session: SessionAnswer | undefined): void {
    if (session === undefined) return;
    if (this.session === undefined || !isVersionWithin(session.version, this.session))
      throw new CulvertError('argument_invalid', 'The service has not asked for a session of this version.');
  }

  /** Sends the answer, unless one has been sent or can no longer be sent. */
  #answer(accepted: boolean, reason?: string, session?: SessionAnswer): void {
    if (this.#settled) return;
    this.#settle();
    const { requestId } = this.#offer;
    this.#context.answer({ requestId, accepted, reason, session });
  }

  #settle(): void {
    this.#settled = true;
    this.#expiry.cancel();
    this.#context.onSettled(this);
  }
}

type Dial<T> = (grant: Grant, options: DialStreamOptions & { readonly halfCloseMs?: number }) => Promise<T>;
