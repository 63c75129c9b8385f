import type { Duplex } from 'node:stream';
import {
  API_VERSION,
  type EndpointInformation,
  parseServiceConnectionString,
  type ServiceConnectionString,
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
import { RestClient } from './rest-client.ts';
import { type OpenStreamOptions, requestStream } from './stream-request.ts';

/** How a service reaches its hub. */
export interface ServiceClientOptions {
  /** Proxy, extra certificate authorities and gateways, for every connection made. */
  readonly outbound?: OutboundOptions;
  /** Default: the system's. */
  readonly clock?: Clock;
}

type Dial<T> = (grant: Grant, options: DialStreamOptions & { ahead: ConnectionAhead }) => Promise<T>;

/** A service's client of one hub: opens streams to devices and administers them. Every failure is a CulvertError. */
export class ServiceClient {
  /** The devices registered with the hub. */
  readonly devices: DeviceRegistry;
  /** The modules of those devices. */
  readonly modules: ModuleRegistry;
  /** The certificate authorities whose devices are let in. */
  readonly authorities: Authorities;
  /** The hub's shared access policies. */
  readonly policies: Policies;
  /** The streams there are now. */
  readonly streams: LiveStreams;
  /** The hub's resource log. */
  readonly logs: Logs;
  /** The record of who reached what. */
  readonly audit: Audit;
  readonly #rest: RestClient;
  /** Where streams lead: the hub itself, until a grant says otherwise. */
  #gateway: Server;
  readonly #outbound: OutboundOptions;
  readonly #clock: Clock;

  private constructor(address: ServiceConnectionString, options: ServiceClientOptions) {
    this.#outbound = options.outbound ?? {};
    assertGatewayPatterns(this.#outbound.gateways ?? []);
    this.#clock = options.clock ?? systemClock;
    this.#gateway = address;
    this.#rest = new RestClient(address, this.#outbound, this.#clock);
    this.devices = new DeviceRegistry(this.#rest);
    this.modules = new ModuleRegistry(this.#rest);
    this.authorities = new Authorities(this.#rest);
    this.policies = new Policies(this.#rest);
    this.streams = new LiveStreams(this.#rest);
    this.logs = new Logs(this.#rest, this.#clock);
    this.audit = new Audit(this.#rest);
  }

  /**
   * Connects to nothing yet.
   * @param text `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`
   * @throws CulvertError `argument_invalid`, never quoting the key; `config_invalid` for a gateway that is no host or pattern
   */
  static fromConnectionString(text: string, options: ServiceClientOptions = {}): ServiceClient {
    return new ServiceClient(parseServiceConnectionString(text), options);
  }

  /**
   * Opens a stream to a device, or to a module of it, and resolves once the hub has let this side in. The Duplex holds what the device has sent since;
   * it ends when the device ends it, and errors (CulvertError) when it was torn. `end()` says goodbye, `destroy()` hangs up.
   * @throws CulvertError `device_not_found`, `module_not_found`, `device_offline`, `device_gone`, `device_silent`, `device_disabled`, `rejected`,
   *   `too_many_requests`, `draining`, `unauthorized`, `unreachable`, `untrusted`; the signal's reason, else `aborted`
   */
  async openStream(deviceId: string, options: OpenStreamOptions): Promise<Duplex> {
    return this.#open(deviceId, options, dialStream);
  }

  /**
   * The low-level form of {@link openStream}: the WebSocket itself, paused so that nothing is lost; add listeners, then call
   * `resume()`. Text and binary messages, close codes and pings are then the caller's business.
   */
  async openWebSocket(deviceId: string, options: OpenStreamOptions): Promise<WebSocket> {
    return this.#open(deviceId, options, dialStreamWebSocket);
  }

  /** Where the hub and its streaming endpoint are. Needs no valid credential. */
  async endpoints(): Promise<EndpointInformation> {
    const path = `/?api-version=${API_VERSION}`;
    const { body } = await this.#rest.send({ method: 'GET', path, authorized: false });
    return jsonObject<EndpointInformation>(body, 'hostName');
  }

  /** Lets requests under way finish and drops the kept connections; streams live on. Idempotent. */
  close(): void {
    this.#rest.close();
  }

  /** While the hub asks the device, the connection to the gateway is made. */
  async #open<T>(deviceId: string, options: OpenStreamOptions, dial: Dial<T>): Promise<T> {
    if (options.signal?.aborted === true) throw abortReason(options.signal);
    const ahead = new ConnectionAhead(this.#gateway, this.#outbound, this.#clock);
    try {
      const grant = await requestStream(this.#rest, deviceId, options, this.#outbound.gateways);
      this.#gateway = serverOf(new URL(grant.url));
      return await dial(grant, { ...this.#dialOptions(options), ahead });
    } finally {
      ahead.drop();
    }
  }

  #dialOptions({ signal }: OpenStreamOptions) {
    return { outbound: this.#outbound, clock: this.#clock, ...(signal === undefined ? {} : { signal }) };
  }
}
