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
  /**
   * Milliseconds of a stream, after one side has ended it, without a byte from the other, after which it fails with `half_close_timeout`; default
   * 60,000. While bytes flow there is no bound.
   */
  readonly halfCloseMs?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

type Dial<T> = (
  grant: Grant,
  options: DialStreamOptions & { ahead: ConnectionAhead; halfCloseMs?: number },
) => Promise<T>;

/** A service's client of one hub: opens streams to devices and administers them. Every failure is a CulvertError. */
export class ServiceClient {
  /** The devices registered with the hub. */
  readonly devices: DeviceRegistry;
  /** The modules of those devices. */
  readonly modules: ModuleRegistry;
  /** The certificate authorities whose devices may connect. */
  readonly authorities: Authorities;
  /** The hub's shared access policies. */
  readonly policies: Policies;
  /** The current streams. */
  readonly streams: LiveStreams;
  /** The hub's resource log. */
  readonly logs: Logs;
  /** The audit record of streams and changes. */
  readonly audit: Audit;
  readonly #rest: RestClient;
  /** The gateway's address: the hub itself, until a grant names another. */
  #gateway: Server;
  readonly #outbound: OutboundOptions;
  readonly #clock: Clock;
  readonly #halfCloseMs: number | undefined;

  private constructor(address: ServiceConnectionString, options: ServiceClientOptions) {
    this.#outbound = options.outbound ?? {};
    assertGatewayPatterns(this.#outbound.gateways ?? []);
    this.#clock = options.clock ?? systemClock;
    this.#halfCloseMs = options.halfCloseMs;
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
   * it ends when the device ends its direction, and emits a CulvertError when it was aborted. `end()` ends this side's direction and still reads the
   * device's; call it also after the device has ended, or the stream fails after `halfCloseMs`. `destroy()` hangs up.
   * @throws CulvertError `device_not_found`, `module_not_found`, `device_offline`, `device_gone`, `device_silent`, `device_disabled`, `rejected`,
   *   `too_many_requests`, `draining`, `unauthorized`, `unreachable`, `untrusted`; the signal's reason, else `aborted`
   */
  async openStream(deviceId: string, options: OpenStreamOptions): Promise<Duplex> {
    return this.#open(deviceId, options, dialStream);
  }

  /**
   * Low-level form of {@link openStream}: the WebSocket itself, paused so that nothing is lost; add listeners, then call
   * `resume()`. Text and binary messages, close codes and pings are then the caller's business. It answers a Close at once, as `ws` does, so it cannot
   * go on sending after the device has ended: see {@link openStream} for that.
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

  /** Lets requests under way finish and closes the keep-alive connections; streams continue. Idempotent. */
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
    const halfCloseMs = this.#halfCloseMs;
    return {
      outbound: this.#outbound,
      clock: this.#clock,
      ...(halfCloseMs === undefined ? {} : { halfCloseMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}
