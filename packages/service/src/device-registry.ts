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

/** Where in the list of all devices to read. */
export interface ListPageOptions {
  /** Devices per page, 1 to 1,000, default 1,000. */
  readonly top?: number;
  /** What the page before gave; absent for the first. */
  readonly continuation?: string;
}

/** A page of devices, ordered by id. */
export interface DevicePage {
  readonly devices: DeviceIdentity[];
  /** Gives the next page; absent on the last. */
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
   * Registers a device, with two keys unless another type of authentication is given; keys not given are made.
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
   * Changes a device; fields not given stay as they are. The `etag` inside the identity is not looked at: name it in the options to
   * refuse overwriting somebody else's change.
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
   * Whether a device, or a module of it, is there; since when; and when and why it last went. Needs the permission `MonitorRead`.
   * @throws CulvertError `device_not_found`, `module_not_found`
   */
  async presence(deviceId: string, moduleId?: string): Promise<PresenceView> {
    const answer = await this.#rest.send({ method: 'GET', path: `/${encodedPath({ deviceId, moduleId })}/presence` });
    return jsonObject<PresenceView>(answer.body, 'deviceId');
  }

  /**
   * Whether a stream to a device, or to a module of it, can be asked for now, and the SSH host keys that are registered for it. Needs the permission
   * `ServiceConnect`.
   * @throws CulvertError `device_not_found`, `module_not_found`
   */
  async reachability(deviceId: string, moduleId?: string): Promise<ReachabilityView> {
    const path = `/${encodedPath({ deviceId, moduleId })}/reachability`;
    return jsonObject<ReachabilityView>((await this.#rest.send({ method: 'GET', path })).body, 'deviceId', 'status');
  }

  /**
   * Tells who is online, then `ready`, then who comes and goes, until the caller stops reading; see `LiveStreams.follow`.
   * @param deviceId of the one device that alone is meant; default all
   */
  subscribeToPresence(
    deviceId?: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Exclude<DeviceNotice, { event: 'cut' }>, void, undefined> {
    const query = deviceId === undefined ? '' : `?${new URLSearchParams({ device: deviceId })}`;
    return this.#rest.follow<DeviceNotice>(`/devices/events${query}`, signal);
  }

  /** One page of all devices. */
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

  /** All devices, a page being read only when the one before is used up. */
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
