import {
  API_VERSION,
  type ModuleIdentity,
  type ModuleIdentityInput,
  parseDeviceId,
  parseModuleId,
} from '@culvert/protocol';
import { type EtagOptions, ifMatch } from './if-match.ts';
import { jsonObject, jsonObjects } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/**
 * The modules of devices: identities with a credential, a control channel and streams of their own. They are removed and disabled together with
 * their device. Every method rejects with a CulvertError.
 */
export class ModuleRegistry {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /**
   * Registers a module; the hub generates keys that are not given. A device has at most 50 modules.
   * @throws CulvertError `device_not_found`, `module_exists`, `limit_reached`
   */
  async create(deviceId: string, moduleId: string, input: ModuleIdentityInput = {}): Promise<ModuleIdentity> {
    const body = { ...input, deviceId, moduleId };
    return identity((await this.#rest.send({ method: 'PUT', path: path(deviceId, moduleId), body })).body);
  }

  /** @throws CulvertError `device_not_found`, `module_not_found` */
  async get(deviceId: string, moduleId: string): Promise<ModuleIdentity> {
    return identity((await this.#rest.send({ method: 'GET', path: path(deviceId, moduleId) })).body);
  }

  /**
   * Changes a module; fields that are not given stay unchanged. The `etag` inside `module` is ignored. To avoid overwriting another client's
   * change, pass the `etag` in the options.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`
   */
  async update(
    module: ModuleIdentityInput & { readonly deviceId: string; readonly moduleId: string },
    options: EtagOptions = {},
  ): Promise<ModuleIdentity> {
    const headers = { 'if-match': ifMatch(options) };
    const at = path(module.deviceId, module.moduleId);
    return identity((await this.#rest.send({ method: 'PUT', path: at, headers, body: module })).body);
  }

  /**
   * Removes a module; its control channel and its streams end within a second.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`
   */
  async delete(deviceId: string, moduleId: string, options: EtagOptions = {}): Promise<void> {
    const headers = { 'if-match': ifMatch(options) };
    await this.#rest.send({ method: 'DELETE', path: path(deviceId, moduleId), headers });
  }

  /**
   * Returns all modules of a device, ordered by id.
   * @throws CulvertError `device_not_found`
   */
  async list(deviceId: string): Promise<ModuleIdentity[]> {
    const answer = await this.#rest.send({ method: 'GET', path: `${modules(deviceId)}?api-version=${API_VERSION}` });
    return jsonObjects<ModuleIdentity>(answer.body, 'deviceId', 'moduleId', 'etag');
  }
}

function modules(deviceId: string): string {
  return `/devices/${encodeURIComponent(parseDeviceId(deviceId))}/modules`;
}

function path(deviceId: string, moduleId: string): string {
  return `${modules(deviceId)}/${encodeURIComponent(parseModuleId(moduleId))}?api-version=${API_VERSION}`;
}

function identity(body: string): ModuleIdentity {
  return jsonObject<ModuleIdentity>(body, 'deviceId', 'moduleId', 'etag');
}
