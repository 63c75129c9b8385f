import { CulvertError, type Identity, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';

/** A node of a device or module that a link may address. Only `streams` has a function; the others exist because clients attach to them too. */
export type DeviceNode = 'streams' | 'telemetry' | 'messages' | 'twin' | 'methods';

/** A node that a service's link may address: for messages to devices, or for feedback on their delivery. Neither has a function in this hub. */
export type ServiceNode = 'deviceMessages' | 'feedback';

/** The audience of a CBS token: a device or module, or the whole hub, as services send it. */
export type Audience = { readonly kind: 'identity'; readonly identity: Identity } | { readonly kind: 'hub' };

/** What the address of a link refers to. */
export type LinkAddress =
  | { readonly kind: 'cbs' }
  | { readonly kind: 'service'; readonly node: ServiceNode }
  | { readonly kind: 'device'; readonly identity: Identity; readonly node: DeviceNode };

/** The node of claims-based security (AMQP CBS 1.0 §3.1). */
const CBS_NODE = '$cbs';

/** Azure's paths below a device or module (docs/protocol/09-control-channel-amqp.md). */
const NODES: Readonly<Record<string, DeviceNode>> = {
  streams: 'streams',
  'messages/events': 'telemetry',
  'messages/devicebound': 'messages',
  twin: 'twin',
  'methods/devicebound': 'methods',
};

/** Paths below the hub's host name that Azure's service clients use, in lower case. The clients do not agree on the case. */
const SERVICE_NODES: Readonly<Record<string, ServiceNode>> = {
  'messages/devicebound': 'deviceMessages',
  'messages/servicebound/feedback': 'feedback',
};

/**
 * Reads the address of a link: `$cbs`, `/devices/{d}[/modules/{m}]/{node}`, or a service's `/messages/{node}`, with or without `amqps://{hub}` before
 * it. The ids are percent-encoded (C#, Node) or raw (C). The host is ignored here; the host in the credential is checked. Undefined for an unknown
 * address.
 */
export function parseLinkAddress(address: unknown): LinkAddress | undefined {
  if (typeof address !== 'string') return undefined;
  if (address === CBS_NODE) return { kind: 'cbs' };
  const path = address.replace(/^amqps?:\/\/[^/]*/i, '').replace(/^\//, '');
  const service = own(SERVICE_NODES, path.toLowerCase());
  if (service !== undefined) return { kind: 'service', node: service };
  const found = splitIdentity(path.split('/').map(decoded));
  const node = own(NODES, found?.rest ?? '');
  return found === undefined || node === undefined ? undefined : { kind: 'device', identity: found.identity, node };
}

/**
 * Reads the audience of a CBS token: `{hub}/devices/{d}[/modules/{m}]`, with percent-encoded ids, wholly percent-encoded or not encoded; or `{hub}`.
 * The host is ignored here; the token itself contains the host it was made for.
 * @throws CulvertError `argument_invalid`
 */
export function parseAudience(audience: string): Audience {
  const isWhole = !audience.includes('/');
  const path = (isWhole ? decoded(audience) : audience).replace(/^amqps?:\/\//i, '').replace(/\/$/, '');
  const [host, ...segments] = path.split('/');
  if (host !== '' && segments.length === 0) return { kind: 'hub' };
  const found = splitIdentity(isWhole ? segments : segments.map(decoded));
  if (found === undefined || found.rest !== '') {
    const text = `The name '${printable(audience)}' is neither a device or module, HUB/devices/DEVICE, nor the hub.`;
    throw new CulvertError('argument_invalid', text);
  }
  return { kind: 'identity', identity: found.identity };
}

/**
 * Reads a name as `identityName` writes it, `{d}` or `{d}/{m}`.
 * @throws CulvertError `argument_invalid`
 */
export function parseIdentityName(name: string): Identity {
  const [deviceId = '', ...moduleId] = name.split('/');
  if (moduleId.length === 0) return { deviceId: parseDeviceId(deviceId) };
  return { deviceId: parseDeviceId(deviceId), moduleId: parseModuleId(moduleId.join('/')) };
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function splitIdentity(segments: readonly string[]): { identity: Identity; rest: string } | undefined {
  const [devices, deviceId, modules, moduleId, ...below] = segments;
  if (devices !== 'devices' || deviceId === undefined) return undefined;
  try {
    if (modules === 'modules' && moduleId !== undefined) {
      const identity = { deviceId: parseDeviceId(deviceId), moduleId: parseModuleId(moduleId) };
      return { identity, rest: below.join('/') };
    }
    return { identity: { deviceId: parseDeviceId(deviceId) }, rest: segments.slice(2).join('/') };
  } catch {
    return undefined;
  }
}

/** Decodes percent escapes. Returns a text with malformed ones unchanged, such as an id that contains a `%`. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
