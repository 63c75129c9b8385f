import {
  API_VERSION,
  CONTINUATION_HEADER,
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type DeviceNotice,
  type Identity,
  type PresenceView,
  parseDeviceId,
  parseModuleId,
  type ReachabilityView,
} from '@culvert/protocol';
import { type EtagOptions, ifMatch } from './if-match.ts';
import { jsonObject, jsonObjects } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/** Which page of the list of all devices to read. */
export interface ListPageOptions {
  /** Devices per page, 1 to 1,000, default 1,000. */
  readonly top?: number;
  /** The `continuation` of the previous page; absent for the first page. */
  readonly continuation?: string;
}

/** A page of devices, ordered by id. */
export interface DevicePage {
  readonly devices: DeviceIdentity[];
  /** Continuation token for the next page; absent on the last page. */
  readonly continuation?: string;
}

/** The devices registered with the hub. Every method rejects with a CulvertError. */
export class DeviceRegistry {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /**
   * Registers a device. Unless another type of authentication is given, it has two keys; the hub generates keys that are not given.
   * @throws CulvertError `device_exists`
   */
  async create(deviceId: string, input: DeviceIdentityInput = {}): Promise<DeviceIdentity> {
    const answer = await this.#rest.send({ method: 'PUT', path: path(deviceId), body: { ...input, deviceId } });
    return identity(answer.body);
  }

  /** @throws CulvertError `device_not_found` */
  async get(deviceId: string): Promise<DeviceIdentity> {
    return identity((await this.#rest.send({ method: 'GET', path: path(deviceId) })).body);
  }

  /**
   * Changes a device; fields that are not given stay unchanged. The `etag` inside `device` is ignored. To avoid overwriting another client's
   * change, pass the `etag` in the options.
   * @throws CulvertError `device_not_found`, `precondition_failed`
   */
  async update(
    device: DeviceIdentityInput & { readonly deviceId: string },
    options: EtagOptions = {},
  ): Promise<DeviceIdentity> {
    const headers = { 'if-match': ifMatch(options) };
    const answer = await this.#rest.send({ method: 'PUT', path: path(device.deviceId), headers, body: device });
    return identity(answer.body);
  }

  /**
   * Removes a device and its modules; their control channels and streams end within a second.
   * @throws CulvertError `device_not_found`, `precondition_failed`
   */
  async delete(deviceId: string, options: EtagOptions = {}): Promise<void> {
    await this.#rest.send({ method: 'DELETE', path: path(deviceId), headers: { 'if-match': ifMatch(options) } });
  }

  /**
   * Returns whether a device, or a module of it, is online and since when, and when and why it last disconnected. Requires the permission
   * `MonitorRead`.
   * @throws CulvertError `device_not_found`, `module_not_found`
   */
  async presence(deviceId: string, moduleId?: string): Promise<PresenceView> {
    const answer = await this.#rest.send({ method: 'GET', path: `/${encodedPath({ deviceId, moduleId })}/presence` });
    return jsonObject<PresenceView>(answer.body, 'deviceId');
  }

  /**
   * Returns whether a stream to a device, or to a module of it, can be requested now, and the SSH host keys that are registered for it. Requires the
   * permission `ServiceConnect`.
   * @throws CulvertError `device_not_found`, `module_not_found`
   */
  async reachability(deviceId: string, moduleId?: string): Promise<ReachabilityView> {
    const path = `/${encodedPath({ deviceId, moduleId })}/reachability`;
    return jsonObject<ReachabilityView>((await this.#rest.send({ method: 'GET', path })).body, 'deviceId', 'status');
  }

  /**
   * Yields the devices that are online, then `ready`, then each connect and disconnect, until the caller stops reading; see `LiveStreams.follow`.
   * @param deviceId limits the subscription to one device; default all devices
   */
  subscribeToPresence(
    deviceId?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Exclude<DeviceNotice, { event: 'cut' }>, void, undefined> {
    const query = deviceId === undefined ? '' : `?${new URLSearchParams({ device: deviceId })}`;
    return this.#rest.follow<DeviceNotice>(`/devices/events${query}`, signal);
  }

  /** Returns one page of the list of all devices. */
  async listPage(options: ListPageOptions = {}): Promise<DevicePage> {
    const { top, continuation } = options;
    if (top !== undefined && !(Number.isInteger(top) && top >= 1 && top <= 1_000))
      throw new CulvertError('argument_invalid', 'A page holds 1 to 1,000 devices.');
    const answer = await this.#rest.send({
      method: 'GET',
      path: `/devices?${top === undefined ? '' : `top=${top}&`}api-version=${API_VERSION}`,
      ...(continuation === undefined ? {} : { headers: { [CONTINUATION_HEADER]: continuation } }),
    });
    const next = answer.headers[CONTINUATION_HEADER];
    const devices = jsonObjects<DeviceIdentity>(answer.body, 'deviceId', 'etag', 'status');
    return typeof next === 'string' && next !== '' ? { devices, continuation: next } : { devices };
  }

  /** Yields all devices; each page is fetched when the previous one has been consumed. */
  async *list(): AsyncGenerator<DeviceIdentity, void, undefined> {
    let page = await this.listPage();
    yield* page.devices;
    while (page.continuation !== undefined) {
      page = await this.listPage({ continuation: page.continuation });
      yield* page.devices;
    }
  }
}

function path(deviceId: string): string {
  return `/devices/${encodeURIComponent(parseDeviceId(deviceId))}?api-version=${API_VERSION}`;
}

function encodedPath({ deviceId, moduleId }: Identity): string {
  const module = moduleId === undefined ? '' : `/modules/${encodeURIComponent(parseModuleId(moduleId))}`;
  return `devices/${encodeURIComponent(parseDeviceId(deviceId))}${module}`;
}

function identity(body: string): DeviceIdentity {
  return jsonObject<DeviceIdentity>(body, 'deviceId', 'etag', 'status');
}
