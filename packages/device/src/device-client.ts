import {
  type Announcement,
  CulvertError,
  type DeviceConnectionString,
  type ErrorCode,
  formatAnnouncement,
  formatAuthority,
  formatSessionReport,
  parseDeviceConnectionString,
  type SessionReport,
  sshHostKeysIn,
} from '@culvert/protocol';
import { SESSION_VERSIONS } from '@culvert/session';
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
import { SessionServer, type SessionServerOptions } from './session-server.ts';
import type { StreamOffer } from './stream-offer.ts';
import { halfRandom, TakeOvers } from './take-overs.ts';

/**
 * `closed`: not opened, or closed. `connecting`: connecting to the hub. `attached`: offers can be received. `waiting`: backing off until the
 * next attempt.
 */
export type DeviceClientState = ConnectionState['name'];

/** How a device handles offers and reaches its hub. */
export interface DeviceClientOptions {
  /**
   * Called for each stream that a service requests. The offer is rejected if this callback throws, or if it returns (or its promise resolves)
   * without having answered. At most 256 offers may be unanswered at once; further offers are rejected. Accepted streams do not count.
   */
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
  /** Called when the state has changed. `error`: the reason, if it is an error. `retryInMs`: milliseconds until the next attempt, in the state `waiting`. */
  readonly onStateChange?: (state: DeviceClientState, error?: CulvertError, retryInMs?: number) => void;
  /**
   * What `open()` does if the hub refuses the first connection for a reason that a retry does not change (a wrong key, a disabled or unknown
   * device, an untrusted certificate). `fail`, the default: `open()` rejects, so that a program with a wrong key can report it at once.
   * `retry`: the client retries as it does after the first success, with waits of at most 30 s; for programs that run unattended, such as
   * `culvert agent`. If the proxy, CA or certificate cannot be used at all, `open()` rejects in both cases.
   */
  readonly onFirstRefusal?: 'fail' | 'retry';
  /** The device's own certificate, for a connection string with `x509=true`. It is presented only to the hub, never to a gateway or a proxy. */
  readonly certificate?: ClientCertificate;
  /** Proxy, additional certificate authorities and gateways, for all connections of this client. */
  readonly outbound?: OutboundOptions;
  /** Default: the system clock. */
  readonly clock?: Clock;
  /**
   * Seconds between pings, 1 to 1,800, default 25: NATs and load balancers drop idle connections after 60 s. If the hub does not answer a ping within
   * the same time, the connection counts as lost.
   */
  readonly keepaliveSeconds?: number;
  /**
   * Maximum milliseconds without a byte from the other side after one side of a stream has ended; then the stream fails with
   * `half_close_timeout`. Default 60,000. While bytes flow, there is no time limit.
   */
  readonly halfCloseMs?: number;
  /**
   * Lifetime of created tokens in seconds, 1 to 31,536,000, default 3,600. Renewal begins after four fifths to nine tenths of it. Does not apply to a
   * token given in the connection string.
   */
  readonly tokenLifetimeSeconds?: number;
  /**
   * Public keys of the device's SSH server, in the form of its `.pub` files. The hub registers them for `culvert ssh` if it has none for this device
   * yet. Invalid keys are ignored. At most eight keys with together 4,096 characters. Default none.
   */
  readonly sshHostKeys?: readonly string[];
  /**
   * What the device announces to the hub when it connects; change it with {@link DeviceClient.announce}. Default: the sessions that it serves. With
   * `session: false` the program may announce sessions and serve them itself, by `StreamOffer.session` and `AcceptOptions.session`.
   */
  readonly announcement?: Announcement;
  /**
   * How the client serves sessions, in which a service side opens many connections over one stream that may be lost and opened again. Each connection
   * reaches `onStream` as an offer of its own, and how they are encrypted between the two ends. Default: sessions are served, without encryption: give
   * `session.key`. `false`: every stream carries one connection. A {@link SessionServer} of this identity, which several clients may share: its sessions
   * outlive this client, and each connection reaches the server's `onStream`.
   */
  readonly session?: SessionServerOptions | SessionServer | false;
  /** Returns a random number in [0, 1), for back-off and renewal. Default `Math.random`. */
  readonly random?: () => number;
}

/** Maximum milliseconds between two attempts. */
const MAX_WAIT_MS = 30_000;

/** Errors that a retry alone does not resolve: the configuration of the device or the hub must be corrected. */
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

/** Keeps a device, or a module of one, reachable: keeps its control channel to the hub open, reconnects if it is lost, and passes offers to `onStream`. */
export class DeviceClient {
  readonly #onStateChange: StateCallback | undefined;
  readonly #context: ChannelContext;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #takeOvers: TakeOvers;
  readonly #retriesRefusals: boolean;
  #state: ConnectionState = new Closed();
  /** Resolves when the previous state has released its resources. */
  #left: Promise<void> = Promise.resolve();
  #opening: Opening | undefined;
  readonly #sessions: SessionServer | undefined;
  /** Whether the sessions end with this client. */
  readonly #ownsSessions: boolean;
  #stopReporting: (() => void) | undefined;
  /** The text of the current announcement. */
  #announcement: string | undefined;

  private constructor(identity: DeviceConnectionString, options: DeviceClientOptions) {
    const { clock = systemClock, random = Math.random, outbound = {}, certificate, onStream, halfCloseMs } = options;
    assertGatewayPatterns(outbound.gateways ?? []);
    const keepaliveSeconds = whole('keepaliveSeconds', options.keepaliveSeconds ?? 25, 1_800);
    const lifetimeSeconds = whole('tokenLifetimeSeconds', options.tokenLifetimeSeconds ?? 3_600, 31_536_000);
    const sshHostKeys = sshHostKeysIn(options.sshHostKeys ?? []);
    const credential = new Credential(identity, { certificate, lifetimeSeconds, clock, random });
    const { session = {} } = options;
    const hub = formatAuthority(identity.host, identity.port);
    this.#ownsSessions = !(session instanceof SessionServer);
    if (session instanceof SessionServer) this.#sessions = serverOf(session, identity);
    else if (session !== false) this.#sessions = new SessionServer(identity, { ...session, clock, onStream });
    this.#announcement = this.#announcementText(options.announcement);
    this.#context = {
      ...{ identity, credential, keepaliveSeconds, sshHostKeys, clock, outbound, halfCloseMs },
      onStream: (offer) => (this.#sessions === undefined ? onStream(offer) : this.#sessions.handle(offer, hub)),
      announcement: () => this.#announcement,
    };
    this.#onStateChange = options.onStateChange;
    this.#random = random;
    this.#backoff = new Backoff({ maxMs: MAX_WAIT_MS, random });
    this.#takeOvers = new TakeOvers(random);
    this.#retriesRefusals = options.onFirstRefusal === 'retry';
  }

  /**
   * Creates a client. It does not connect before {@link open}.
   * @param text `HostName=…;DeviceId=…[;ModuleId=…]` and `;SharedAccessKey=…`, `;SharedAccessSignature=…` or `;x509=true`; the key may be
   *   a policy's (`…;SharedAccessKeyName=…;SharedAccessKey=…`)
   * @throws CulvertError `argument_invalid`, whose message never contains the key, for an invalid connection string or option, for `x509=true` without
   *   `certificate`, and for `certificate` without `x509=true`; `config_invalid` for an invalid gateway in `outbound`
   */
  static fromConnectionString(text: string, options: DeviceClientOptions): DeviceClient {
    return new DeviceClient(parseDeviceConnectionString(text), options);
  }

  /**
   * Replaces what the device announces, wholly: at once while it is attached, and with each later connection. Undefined: nothing.
   * @throws CulvertError `argument_invalid` for an announcement that is not valid
   */
  announce(announcement: Announcement | undefined): void {
    this.#announcement = this.#announcementText(announcement);
    if (this.#state instanceof Attached) this.#state.announce(this.#announcement);
  }

  /**
   * Tells the hub about the connections of one of this device's sessions, for its logs and live view. The hub drops a report that comes less than ten
   * seconds after the former one of the same session, and does not say so.
   * @returns whether it was sent; false while the device is not attached
   * @throws CulvertError `argument_invalid` for a report that is not valid or has more than 100 connections
   */
  reportSession(report: SessionReport): boolean {
    const text = formatSessionReport(report);
    if (!(this.#state instanceof Attached)) return false;
    this.#state.report(text);
    return true;
  }

  /** The current state. */
  get state(): DeviceClientState {
    return this.#state.name;
  }

  /**
   * Connects, and resolves when attached for the first time. Temporary failures are retried without limit, with back-off. After the first success
   * every failure is retried, since its cause may be corrected meanwhile; with `onFirstRefusal: 'retry'` also before it.
   * @throws CulvertError the error with which the hub permanently refused the first connection (`unauthorized`, `device_disabled`, …),
   *   `untrusted`, or `config_invalid` for a proxy, CA, certificate or file of `session` that cannot be used; the client is closed then. `aborted` if the client is
   *   closed before it is attached
   */
  open(): Promise<void> {
    if (this.#opening === undefined) {
      const opening = new Opening();
      this.#opening = opening;
      if (this.#ownsSessions) this.#sessions?.reopen();
      this.#stopReporting?.();
      this.#stopReporting = this.#sessions?.reportWith((report) => this.reportSession(report));
      this.#backoff.reset();
      const loading = this.#sessions?.load();
      if (loading === undefined) this.#connect();
      else void this.#connectAfter(loading, opening);
    }
    return this.#opening.promise;
  }

  /** A device whose keys cannot be read must not be reachable without them. */
  async #connectAfter(loading: Promise<void>, opening: Opening): Promise<void> {
    try {
      await loading;
    } catch (error) {
      const problem = CulvertError.from(error);
      if (this.#opening === opening) this.#closeWith(problem, problem);
      return;
    }
    if (this.#opening === opening) this.#connect();
  }

  /**
   * Rejects unanswered offers, disconnects from the hub, and resolves when the connection is closed, after at most five seconds. Accepted streams
   * continue; a session ends when its last connection is over, unless its server is shared. Idempotent; the client may be opened again.
   */
  async close(): Promise<void> {
    if (this.#ownsSessions) this.#sessions?.drain();
    if (this.#opening !== undefined) this.#closeWith(new CulvertError('aborted', 'The client was closed.'));
    await this.#left;
  }

  #announcementText(announcement: Announcement | undefined): string | undefined {
    const sessions =
      this.#sessions === undefined ? {} : { session: { ...SESSION_VERSIONS, encrypted: this.#sessions.encrypts } };
    const all = { ...sessions, ...announcement };
    return Object.keys(all).length === 0 ? undefined : formatAnnouncement(all);
  }

  #closeWith(error: CulvertError, shown?: CulvertError): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#stopReporting?.();
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
    const attached = new Attached(channel, context, listener);
    this.#enter(attached);
    // It may have changed while the channel was being opened.
    attached.announce(this.#announcement);
    this.#opening?.resolve();
  }

  /** Decides whether and when to connect again; no other code does. `refused`: whether `error` is a permanent refusal. */
  #retry(error: CulvertError, refused: boolean): void {
    // A local configuration that cannot be used does not change on a retry; the cause of the hub's refusal may be corrected at the hub.
    const isFinal = error.code === 'config_invalid' || !this.#retriesRefusals;
    if (refused && isFinal && this.#opening?.settled === false) {
      this.#closeWith(error, error);
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
    const callback = this.#onStateChange;
    // Called in a microtask, so that the callback cannot interfere with an unfinished transition.
    if (callback !== undefined && next.name !== previous.name)
      queueMicrotask(() => callback(next.name, error, retryInMs));
  }
}

function serverOf(server: SessionServer, { deviceId, moduleId }: DeviceConnectionString): SessionServer {
  if (server.deviceId === deviceId && server.moduleId === moduleId) return server;
  throw new CulvertError('argument_invalid', 'The session server is for another device or module.');
}

function whole(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new CulvertError('argument_invalid', `${name} must be a whole number of seconds from 1 to ${max}.`);
}
