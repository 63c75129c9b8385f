import {
  CulvertError,
  type DeviceConnectionString,
  type ErrorCode,
  parseDeviceConnectionString,
  sshHostKeysIn,
} from '@culvert/protocol';
import {
  assertGatewayPatterns,
  Backoff,
  type ClientCertificate,
  type Clock,
  type OutboundOptions,
  systemClock,
} from '@culvert/stream';
import { Attached, type AttachedListener } from './attached.ts';
import { Attempt, type AttemptListener, type StartAttempt } from './attempt.ts';
import { Closed, Connecting, type ConnectionState, type StateCallback, Waiting } from './connection-states.ts';
import { type ChannelContext, ControlChannel } from './control-channel.ts';
import { Credential } from './credential.ts';
import { Opening } from './opening.ts';
import type { StreamOffer } from './stream-offer.ts';
import { halfRandom, TakeOvers } from './take-overs.ts';

/**
 * `closed`: not opened, or closed. `connecting`: dialling the hub. `attached`: offers may come. `waiting`: backing off before
 * the next attempt.
 */
export type DeviceClientState = ConnectionState['name'];

/** How a device handles offers and reaches its hub. */
export interface DeviceClientOptions {
  /**
   * A service asks for a stream. The offer is rejected when this throws, or returns (its promise settles) without an answer.
   * At most 256 offers await an answer at once; more are rejected. Streams once accepted do not count.
   */
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
  /** The state changed; `error` is why, where something went wrong. `retryInMs`: with `waiting`, milliseconds until the next attempt. */
  readonly onStateChange?: (state: DeviceClientState, error?: CulvertError, retryInMs?: number) => void;
  /**
   * What `open()` does when the hub refuses the first connection for a reason that somebody must mend (a wrong key, a disabled or unknown
   * device, a certificate that is not trusted). `fail`, the default: it rejects, so that a program which was given a wrong key says so at
   * once. `retry`: it goes on as after the first success, every 30 s at most; for programs that run unattended, such as `culvert agent`.
   * A proxy, CA or certificate that cannot be used at all rejects either way.
   */
  readonly onFirstRefusal?: 'fail' | 'retry';
  /** The device's own certificate, for a connection string with `x509=true`. Only the hub is shown it: no gateway, no proxy. */
  readonly certificate?: ClientCertificate;
  /** Proxy, extra certificate authorities and gateways, for every connection made. */
  readonly outbound?: OutboundOptions;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Seconds between pings, 1 to 1,800, default 25: NATs and load balancers forget at 60 s. A hub that does not answer within as long again is given up. */
  readonly keepaliveSeconds?: number;
  /**
   * Milliseconds of a stream, after one side has ended it, without a byte from the other, after which it fails with `half_close_timeout`; default
   * 60,000. While bytes flow there is no bound.
   */
  readonly halfCloseMs?: number;
  /** Seconds a token lives, 1 to 31,536,000, default 3,600. Renewed after four fifths; not for tokens given in the connection string. */
  readonly tokenLifetimeSeconds?: number;
  /**
   * Public keys of the device's SSH server, as its `.pub` files hold them: the hub registers them if it has none yet, for `culvert ssh`. What is no key is left out; at
   * most eight, 4,096 characters together. Default none.
   */
  readonly sshHostKeys?: readonly string[];
  /** Random numbers of [0, 1) for back-off and renewal. Default `Math.random`. */
  readonly random?: () => number;
}

/** Milliseconds of the longest wait between attempts. */
const MAX_WAIT_MS = 30_000;

/** Refusals that a retry does not change: somebody must act, at the device or at the hub. */
const PERMANENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unauthorized',
  'token_expired',
  'forbidden',
  'device_not_found',
  'device_disabled',
  'revoked',
  'untrusted',
  'argument_invalid',
  'config_invalid',
  'protocol_unsupported',
]);

/** Keeps a device, or a module of one, reachable: holds its control channel to the hub open, for as long as it takes, and hands on the streams offered. */
export class DeviceClient {
  readonly #onStateChange: StateCallback | undefined;
  readonly #context: ChannelContext;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #takeOvers: TakeOvers;
  readonly #retriesRefusals: boolean;
  #state: ConnectionState = new Closed();
  /** Settles when the previous state has released its resources. */
  #left: Promise<void> = Promise.resolve();
  #opening: Opening | undefined;

  private constructor(identity: DeviceConnectionString, options: DeviceClientOptions) {
    const { clock = systemClock, random = Math.random, outbound = {}, certificate, onStream, halfCloseMs } = options;
    assertGatewayPatterns(outbound.gateways ?? []);
    const keepaliveSeconds = whole('keepaliveSeconds', options.keepaliveSeconds ?? 25, 1_800);
    const lifetimeSeconds = whole('tokenLifetimeSeconds', options.tokenLifetimeSeconds ?? 3_600, 31_536_000);
    const sshHostKeys = sshHostKeysIn(options.sshHostKeys ?? []);
    const credential = new Credential(identity, { certificate, lifetimeSeconds, clock, random });
    this.#context = { identity, credential, keepaliveSeconds, sshHostKeys, clock, outbound, halfCloseMs, onStream };
    this.#onStateChange = options.onStateChange;
    this.#random = random;
    this.#backoff = new Backoff({ maxMs: MAX_WAIT_MS, random });
    this.#takeOvers = new TakeOvers(random);
    this.#retriesRefusals = options.onFirstRefusal === 'retry';
  }

  /**
   * Connects to nothing yet.
   * @param text `HostName=…;DeviceId=…[;ModuleId=…]` and `;SharedAccessKey=…`, `;SharedAccessSignature=…` or `;x509=true`; the key may be
   *   a policy's (`…;SharedAccessKeyName=…;SharedAccessKey=…`)
   * @throws CulvertError `argument_invalid`, never quoting the key; also for `x509=true` without `certificate`, or that without this; `config_invalid` for
   *   a gateway in `outbound` that is no host or pattern
   */
  static fromConnectionString(text: string, options: DeviceClientOptions): DeviceClient {
    return new DeviceClient(parseDeviceConnectionString(text), options);
  }

  /** The current state. */
  get state(): DeviceClientState {
    return this.#state.name;
  }

  /**
   * Resolves when first attached. Transient failures are retried forever, with back-off; so is everything after the first
   * success, since the cause may be fixed, and with `onFirstRefusal: 'retry'` before it.
   * @throws CulvertError the error with which the hub permanently refused the first connection (`unauthorized`, `device_disabled`, …),
   *   `untrusted`, or `config_invalid` for a proxy, CA or certificate that cannot be used, after which the client is closed; `aborted` when
   *   closed meanwhile
   */
  open(): Promise<void> {
    if (this.#opening === undefined) {
      this.#opening = new Opening();
      this.#backoff.reset();
      this.#connect();
    }
    return this.#opening.promise;
  }

  /**
   * Rejects the offers not answered yet, says goodbye to the hub, and resolves when the connection is gone, five seconds at
   * most. Streams already accepted live on. Idempotent; the client may be opened again.
   */
  async close(): Promise<void> {
    if (this.#opening !== undefined) this.#shut(new CulvertError('aborted', 'The client was closed.'));
    await this.#left;
  }

  #shut(error: CulvertError, shown?: CulvertError): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#enter(new Closed(), shown);
    opening?.reject(error);
  }

  #connect(error?: CulvertError): void {
    this.#enter(new Connecting(this.#startAttempt(this.#firstAttachment())), error);
  }

  readonly #startAttempt: StartAttempt = (listener) =>
    new Attempt((signal) => ControlChannel.open(this.#context, signal), listener);

  #firstAttachment(): AttemptListener {
    return {
      onAttached: (channel) => this.#attach(channel),
      onFailed: (error) => this.#retry(error, PERMANENT.has(error.code)),
    };
  }

  #attach(channel: ControlChannel): void {
    const { clock } = this.#context;
    const listener: AttachedListener = {
      onStable: () => this.#backoff.reset(),
      onRenewed: (newer) => this.#attach(newer),
      onBroken: (renewal, error) => {
        renewal.redirect(this.#firstAttachment());
        this.#enter(new Connecting(renewal), error);
      },
      onLost: (error) => this.#retry(error, false),
    };
    const context = { clock, random: this.#random, startAttempt: this.#startAttempt };
    this.#enter(new Attached(channel, context, listener));
    this.#opening?.resolve();
  }

  /** The one place that decides to connect again. `refused`: the hub does not want this device, not only now. */
  #retry(error: CulvertError, refused: boolean): void {
    // What this machine cannot use at all does not pass; what the hub says may be mended there.
    const isFinal = error.code === 'config_invalid' || !this.#retriesRefusals;
    if (refused && isFinal && this.#opening?.settled === false) {
      this.#shut(error, error);
      return;
    }
    const { clock } = this.#context;
    const wait = this.#waitMs(error, refused, clock.now());
    this.#enter(new Waiting(clock, wait, () => this.#connect()), error, wait);
  }

  #waitMs(error: CulvertError, refused: boolean, now: number): number {
    if (error.code === 'taken_over') return this.#takeOvers.next(now);
    return refused ? halfRandom(MAX_WAIT_MS, this.#random) : this.#backoff.next();
  }

  #enter(next: ConnectionState, error?: CulvertError, retryInMs?: number): void {
    const previous = this.#state;
    this.#state = next;
    this.#left = previous.leave();
    const tell = this.#onStateChange;
    // In a microtask, so that the callback cannot interfere with an unfinished transition.
    if (tell !== undefined && next.name !== previous.name) queueMicrotask(() => tell(next.name, error, retryInMs));
  }
}

function whole(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new CulvertError('argument_invalid', `${name} must be a whole number of seconds from 1 to ${max}.`);
}
