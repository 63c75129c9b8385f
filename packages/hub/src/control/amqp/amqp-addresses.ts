import { CulvertError, type Identity, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';

/** What a link may lead to, of one identity. Only `streams` does anything here; the others are there for the clients that attach them besides. */
export type DeviceNode = 'streams' | 'telemetry' | 'messages' | 'twin' | 'methods';

/** What a service's link may lead to: where it sends messages for devices, or receives what became of them. Neither does anything here. */
export type ServiceNode = 'deviceMessages' | 'feedback';

/** What a CBS token is put for: a device or module, or the hub as a whole, which is how services do it. */
export type Audience = { readonly kind: 'identity'; readonly identity: Identity } | { readonly kind: 'hub' };

/** Where a link leads. */
export type LinkAddress =
  | { readonly kind: 'cbs' }
  | { readonly kind: 'service'; readonly node: ServiceNode }
  | { readonly kind: 'device'; readonly identity: Identity; readonly node: DeviceNode };

/** The node of claims-based security (AMQP CBS 1.0 §3.1). */
const CBS_NODE = '$cbs';

/** Azure's paths below a device or module (protocol page 9). */
const NODES: Readonly<Record<string, DeviceNode>> = {
  streams: 'streams',
  'messages/events': 'telemetry',
  'messages/devicebound': 'messages',
  twin: 'twin',
  'methods/devicebound': 'methods',
};

/** Paths that Azure's service clients use, below the hub's host name; clients differ in their case. */
const SERVICE_NODES: Readonly<Record<string, ServiceNode>> = {
  'messages/devicebound': 'deviceMessages',
  'messages/servicebound/feedback': 'feedback',
};

/**
 * Reads the address of a link: `$cbs`, `/devices/{d}[/modules/{m}]/{node}`, or a service's `/messages/{node}`, below `amqps://{hub}` or not. The ids are percent-encoded (C#,
 * Node) or raw (C); the host is not looked at, the credential's own is. Undefined when there is nothing at the address.
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
 * Reads the audience that a CBS token is put for: `{hub}/devices/{d}[/modules/{m}]`, its ids or the whole percent-encoded, or not at all;
 * or `{hub}`. The host is not looked at: the token says which one it was made for.
 * @throws CulvertError `argument_invalid`
 */
export function parseAudience(audience: string): Audience {
  const isWhole = !audience.includes('/');
  const path = (isWhole ? decoded(audience) : audience).replace(/^amqps?:\/\//i, '').replace(/\/$/, '');
  const [host, ...segments] = path.split('/');
  if (host !== '' && segments.length === 0) return { kind: 'hub' };
  const found = splitIdentity(isWhole ? segments : segments.map(decoded));
  if (found === undefined || found.rest !== '') {
    const text = `The name '${printable(audience)}' is neither that of a device or module, HUB/devices/DEVICE, nor that of the hub.`;
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

/** A segment with its escapes resolved; as it is when it has none or they are none, as in an id that has a `%` of its own. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
