import {
  CulvertError,
  type DeviceConnectionString,
  type ErrorCode,
  parseDeviceConnectionString,
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

/**
 * `closed`: not opened, or closed. `connecting`: dialling the hub. `attached`: offers may come. `waiting`: backing off before
 * the next attempt.
 */
export type DeviceClientState = ConnectionState['name'];

/** What a device does with offers, and how it reaches its hub. */
export interface DeviceClientOptions {
  /**
   * A service asks for a stream. The offer is rejected when this throws, or returns (its promise settles) without an answer.
   * At most 256 offers await an answer at once; more are rejected. Streams once accepted do not count.
   */
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
  /** The state changed; `error` is why, where something went wrong. */
  readonly onStateChange?: (state: DeviceClientState, error?: CulvertError) => void;
  /** The device's own certificate, for a connection string with `x509=true`. Only the hub is shown it: no gateway, no proxy. */
  readonly certificate?: ClientCertificate;
  /** Proxy, extra certificate authorities and gateways, for every connection made. */
  readonly outbound?: OutboundOptions;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Seconds between pings, 1 to 1,800, default 25: NATs and load balancers forget at 60 s. A hub that does not answer within as long again is given up. */
  readonly keepaliveSeconds?: number;
  /** Seconds a token lives, 1 to 31,536,000, default 3,600. Renewed after four fifths; not for tokens given in the connection string. */
  readonly tokenLifetimeSeconds?: number;
  /** Random numbers of [0, 1) for back-off and renewal. Default `Math.random`. */
  readonly random?: () => number;
}

/** Milliseconds of the longest wait between attempts. */
const MAX_WAIT_MS = 30_000;

/** Refusals that trying again does not mend: somebody must act, on the device or at the hub. */
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
  #state: ConnectionState = new Closed();
  /** Settles when the last state left has freed all it had. */
  #left: Promise<void> = Promise.resolve();
  #opening: Opening | undefined;

  private constructor(identity: DeviceConnectionString, options: DeviceClientOptions) {
    const { clock = systemClock, random = Math.random, outbound = {}, certificate, onStream } = options;
    assertGatewayPatterns(outbound.gateways ?? []);
    const keepaliveSeconds = whole('keepaliveSeconds', options.keepaliveSeconds ?? 25, 1_800);
    const lifetimeSeconds = whole('tokenLifetimeSeconds', options.tokenLifetimeSeconds ?? 3_600, 31_536_000);
    const credential = new Credential(identity, { certificate, lifetimeSeconds, clock, random });
    this.#context = { identity, credential, keepaliveSeconds, clock, outbound, onStream };
    this.#onStateChange = options.onStateChange;
    this.#random = random;
    this.#backoff = new Backoff({ maxMs: MAX_WAIT_MS, random });
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

  /** Where the client stands now. */
  get state(): DeviceClientState {
    return this.#state.name;
  }

  /**
   * Resolves when first attached. Transient failures are retried for ever, with back-off; so is everything after the first
   * success, since whatever went wrong may be mended.
   * @throws CulvertError what the hub refused the first connection with for good (`unauthorized`, `device_disabled`, …),
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
    if (refused && this.#opening?.settled === false) {
      this.#shut(error, error);
      return;
    }
    // Two agents with one device's id would otherwise take over from each other many times a second.
    const wait = refused || error.code === 'taken_over' ? MAX_WAIT_MS : this.#backoff.next();
    this.#enter(new Waiting(this.#context.clock, wait, () => this.#connect()), error);
  }

  #enter(next: ConnectionState, error?: CulvertError): void {
    const previous = this.#state;
    this.#state = next;
    this.#left = previous.leave();
    const tell = this.#onStateChange;
    // In a microtask: what the callback throws, or calls, must not meet a transition half done.
    if (tell !== undefined && next.name !== previous.name) queueMicrotask(() => tell(next.name, error));
  }
}

function whole(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new CulvertError('argument_invalid', `${name} must be a whole number of seconds from 1 to ${max}.`);
}
