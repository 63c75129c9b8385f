import type { Duplex } from 'node:stream';
import {
  API_VERSION,
  CulvertError,
  type EndpointInformation,
  formatAuthority,
  formatSessionReport,
  isStreamId,
  parseServiceConnectionString,
  type ServiceConnectionString,
  type SessionReport,
  type SessionRequest,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import {
  abortReason,
  assertGatewayPatterns,
  type Clock,
  ConnectionAhead,
  type DialStreamOptions,
  dialStream,
  dialStreamWebSocket,
  type OutboundOptions,
  type Server,
  serverOf,
  systemClock,
} from '@culvert/stream';
import type { WebSocket } from 'ws';
import { Audit } from './audit.ts';
import { Authorities } from './authorities.ts';
import { DeviceRegistry } from './device-registry.ts';
import { jsonObject } from './json-answer.ts';
import { LiveStreams } from './live-streams.ts';
import { Logs } from './logs.ts';
import { ModuleRegistry } from './module-registry.ts';
import { Policies } from './policies.ts';
import { RestClient, type RestRequest } from './rest-client.ts';
import { DeviceTrust, type DeviceTrustOptions } from './sessions/device-trust.ts';
import type { ServiceSessionEvent } from './sessions/session-event.ts';
import { type DeviceConnection, SessionPool } from './sessions/session-pool.ts';
import {
  type GrantedStream,
  type OpenedSessionStream,
  type OpenStreamOptions,
  requestStream,
  type SessionStreamOptions,
} from './stream-request.ts';

/** How a service reaches its hub. */
export interface ServiceClientOptions {
  /** Proxy, additional certificate authorities and gateways, for all connections of this client. */
  readonly outbound?: OutboundOptions;
  /**
   * Maximum milliseconds without a byte from the other side after one side of a stream has ended; then the stream fails with
   * `half_close_timeout`. Default 60,000. While bytes flow, there is no time limit.
   */
  readonly halfCloseMs?: number;
  /**
   * Sessions with devices that serve them, and how those are encrypted between the two ends. `false`: every stream is raw, and nothing is encrypted
   * against the hub.
   */
  readonly session?: false | ServiceSessionOptions;
  /** Default: the system clock. */
  readonly clock?: Clock;
}

/** How a client holds sessions with devices, and recognises them. */
export interface ServiceSessionOptions extends DeviceTrustOptions {
  /** Seconds for which a session is kept while its link is lost, 1 to 604,800, default 900; the lesser of both ends holds. */
  readonly retentionSeconds?: number;
  /** Called when a link is lost or regained, a device's key is pinned at first use, and for each stream or session that is not encrypted. */
  readonly onEvent?: (event: ServiceSessionEvent) => void;
}

type Dial<T> = (
  grant: Grant,
  options: DialStreamOptions & { ahead: ConnectionAhead; halfCloseMs?: number },
) => Promise<T>;

/** A client for services of one hub: opens streams to devices and administers the hub. Every error is a CulvertError. */
export class ServiceClient {
  /** The devices registered with the hub. */
  readonly devices: DeviceRegistry;
  /** The modules of the devices. */
  readonly modules: ModuleRegistry;
  /** The certificate authorities whose devices may connect. */
  readonly authorities: Authorities;
  /** The hub's shared access policies. */
  readonly policies: Policies;
  /** The current streams. */
  readonly streams: LiveStreams;
  /** The hub's resource log. */
  readonly logs: Logs;
  /** The hub's audit log. */
  readonly audit: Audit;
  readonly #rest: RestClient;
  /** The expected gateway for the next stream: the hub itself, then the gateway of the latest grant. */
  #gateway: Server;
  readonly #outbound: OutboundOptions;
  readonly #clock: Clock;
  readonly #halfCloseMs: number | undefined;
  readonly #sessions: SessionPool | undefined;
  readonly #trust: DeviceTrust | undefined;

  private constructor(address: ServiceConnectionString, options: ServiceClientOptions) {
    this.#outbound = options.outbound ?? {};
    assertGatewayPatterns(this.#outbound.gateways ?? []);
    this.#clock = options.clock ?? systemClock;
    this.#halfCloseMs = options.halfCloseMs;
    this.#gateway = address;
    this.#rest = new RestClient(address, this.#outbound, this.#clock);
    const { session = {} } = options;
    if (session !== false) {
      this.#trust = new DeviceTrust(formatAuthority(address.host, address.port), this.#clock, session);
      this.#sessions = new SessionPool({
        trust: this.#trust,
        clock: this.#clock,
        retentionSeconds: session.retentionSeconds,
        openRaw: (deviceId, streamOptions) => this.#openRaw(deviceId, streamOptions),
        openLink: (deviceId, streamOptions) => this.#openSessionStream(deviceId, streamOptions, false),
        report: (streamId, report) => this.#report(streamId, report, { afterClose: true, keepsAlive: false }),
        onEvent: session.onEvent ?? (() => undefined),
      });
    }
    this.devices = new DeviceRegistry(this.#rest);
    this.modules = new ModuleRegistry(this.#rest);
    this.authorities = new Authorities(this.#rest);
    this.policies = new Policies(this.#rest);
    this.streams = new LiveStreams(this.#rest);
    this.logs = new Logs(this.#rest, this.#clock);
    this.audit = new Audit(this.#rest);
  }

  /**
   * Creates a client. It does not connect before its first use.
   * @param text `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`
   * @throws CulvertError `argument_invalid` for an invalid connection string; its message never contains the key. `config_invalid` for an invalid
   *   gateway in `outbound`
   */
  static fromConnectionString(text: string, options: ServiceClientOptions = {}): ServiceClient {
    return new ServiceClient(parseServiceConnectionString(text), options);
  }

  /**
   * Opens a stream to a device, or to a module of it, and resolves when the gateway has accepted this side's connection.
   *
   * The Duplex buffers the data that the device has sent since. It ends when the device ends its direction, and emits a CulvertError if the stream
   * is aborted. `end()` ends this side's direction; the device's data can still be read. Call `end()` also after the device has ended, otherwise
   * the stream fails after `halfCloseMs`. `destroy()` aborts the stream.
   * @throws CulvertError `device_not_found`, `module_not_found`, `device_offline`, `device_gone`, `device_silent`, `device_disabled`, `rejected`,
   *   `too_many_requests`, `draining`, `unauthorized`, `unreachable`, `untrusted`; `encryption_required` for a stream without encryption to a device whose
   *   key is pinned or for which there is a fleet authority, `key_changed`, `key_refused`; the signal's reason, else `aborted`
   */
  async openStream(deviceId: string, options: OpenStreamOptions): Promise<Duplex> {
    if (this.#sessions !== undefined && options.raw !== true) return this.#sessions.open(deviceId, options);
    await this.#assertMayBeRaw(deviceId, options);
    return this.#openRaw(deviceId, options);
  }

  async #assertMayBeRaw(deviceId: string, { moduleId }: OpenStreamOptions): Promise<void> {
    await this.#trust?.assertMayBeRaw({ deviceId, ...(moduleId === undefined ? {} : { moduleId }) });
  }

  /**
   * How {@link openStream} reaches a device, or a module of it, now: in a session, or by raw streams, and why. Undefined before the first stream, and when
   * the session is over.
   */
  connectionTo(deviceId: string, moduleId?: string): DeviceConnection | undefined {
    return this.#sessions?.connectionTo({ deviceId, ...(moduleId === undefined ? {} : { moduleId }) });
  }

  async #openRaw(deviceId: string, options: OpenStreamOptions): Promise<Duplex> {
    return (await this.#open(deviceId, options, dialStream)).opened;
  }

  /**
   * Opens a stream as {@link openStream} does, and asks the device to run a session in it: `options.session`, with the same id for each stream that
   * carries the session. `session` of the result is what the device chose. Undefined: the device or the hub knows no session of these versions, so
   * the device's end is the raw stream that `options.name` names; a caller that does not want that destroys it before it has written anything. The
   * caller runs the session and encrypts it itself; the options of `ServiceClientOptions.session` do not apply.
   * @throws CulvertError as {@link openStream}; `closed_by_administrator`, `lifetime_ended` or `quota_reached` when the hub does not let the session
   *   go on; `argument_invalid` for a session that is not valid
   */
  async openSessionStream(
    deviceId: string,
    options: OpenStreamOptions & { readonly session: SessionRequest },
  ): Promise<OpenedSessionStream> {
    return this.#openSessionStream(deviceId, options, true);
  }

  async #openSessionStream(
    deviceId: string,
    options: SessionStreamOptions,
    keepsAlive: boolean,
  ): Promise<OpenedSessionStream> {
    const dial: Dial<Duplex> = (grant, dialOptions) => dialStream(grant, { ...dialOptions, keepsAlive });
    const { opened: stream, granted } = await this.#open(deviceId, options, dial);
    const { streamId, session, noSession, idleMs } = granted;
    return { stream, streamId, session, noSession, idleMs };
  }

  /**
   * Low-level form of {@link openStream}: resolves with the WebSocket itself, paused so that no message is lost; add listeners, then call
   * `resume()`. The caller must handle text and binary messages, close codes and pings. The WebSocket answers a Close at once, as `ws` does, and so
   * cannot send after the device has ended; use {@link openStream} for that. It is a raw stream.
   * @throws CulvertError as {@link openStream}
   */
  async openWebSocket(deviceId: string, options: OpenStreamOptions): Promise<WebSocket> {
    await this.#assertMayBeRaw(deviceId, options);
    return (await this.#open(deviceId, options, dialStreamWebSocket)).opened;
  }

  /**
   * Tells the hub about the connections of a session, for its logs and live view.
   * @param streamId a stream that carries the session and that this client's policy requested
   * @throws CulvertError `stream_not_found` for another stream; `too_many_requests` less than ten seconds after the former report of this session;
   *   `argument_invalid` for a report that is not valid, is about another session, or has more than 100 connections
   */
  async reportSession(streamId: string, report: SessionReport): Promise<void> {
    formatSessionReport(report);
    if (!isStreamId(streamId)) throw new CulvertError('argument_invalid', 'A stream id has 32 hexadecimal digits.');
    await this.#report(streamId, report);
  }

  async #report(
    streamId: string,
    report: SessionReport,
    how: Pick<RestRequest, 'afterClose' | 'keepsAlive'> = {},
  ): Promise<void> {
    await this.#rest.send({ method: 'POST', path: `/streams/${streamId}/session-report`, body: report, ...how });
  }

  /** Returns the host names of the hub and its streaming endpoint. Requires no valid credential. */
  async endpoints(): Promise<EndpointInformation> {
    const path = `/?api-version=${API_VERSION}`;
    const { body } = await this.#rest.send({ method: 'GET', path, authorized: false });
    return jsonObject<EndpointInformation>(body, 'hostName');
  }

  /**
   * Refuses further requests, and closes the keep-alive connections when all current requests have ended. Streams continue, also those in sessions,
   * even if a link is lost from then on. Idempotent.
   */
  close(): void {
    this.#sessions?.drain();
    this.#rest.close();
  }

  /** Connects to the expected gateway in advance, while the hub sends the offer to the device. */
  async #open<T>(
    deviceId: string,
    options: SessionStreamOptions,
    dial: Dial<T>,
  ): Promise<{ opened: T; granted: GrantedStream }> {
    if (options.signal?.aborted === true) throw abortReason(options.signal);
    const ahead = new ConnectionAhead(this.#gateway, this.#outbound, this.#clock);
    try {
      const granted = await requestStream(this.#rest, deviceId, options, this.#outbound.gateways);
      this.#gateway = serverOf(new URL(granted.grant.url));
      return { opened: await dial(granted.grant, { ...this.#dialOptions(options), ahead }), granted };
    } finally {
      ahead.drop();
    }
  }

  #dialOptions({ signal }: OpenStreamOptions) {
    const halfCloseMs = this.#halfCloseMs;
    return {
      outbound: this.#outbound,
      clock: this.#clock,
      ...(halfCloseMs === undefined ? {} : { halfCloseMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}
