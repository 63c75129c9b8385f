import { CulvertError, type Identity, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';

/** What a link may lead to, of one identity. Only `streams` does anything here; the others are there for the clients that attach them besides. */
export type DeviceNode = 'streams' | 'telemetry' | 'messages' | 'twin' | 'methods';

/** Where a link leads. */
export type LinkAddress =
  | { readonly kind: 'cbs' }
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

/**
 * Reads the address of a link: `$cbs`, or `/devices/{d}[/modules/{m}]/{node}`, below `amqps://{hub}` or not. The ids are percent-encoded (C#,
 * Node) or raw (C); the host is not looked at, the credential's own is. Undefined when there is nothing at the address.
 */
export function parseLinkAddress(address: unknown): LinkAddress | undefined {
  if (typeof address !== 'string') return undefined;
  if (address === CBS_NODE) return { kind: 'cbs' };
  const path = address.replace(/^amqps?:\/\/[^/]*/i, '').replace(/^\//, '');
  const found = splitIdentity(path.split('/').map(decoded));
  const node = Object.hasOwn(NODES, found?.rest ?? '') ? NODES[found?.rest ?? ''] : undefined;
  return found === undefined || node === undefined ? undefined : { kind: 'device', identity: found.identity, node };
}

/**
 * Reads the audience that a CBS token is put for: `{hub}/devices/{d}[/modules/{m}]`, its ids or the whole percent-encoded, or not at all.
 * @throws CulvertError `argument_invalid`
 */
export function parseAudience(audience: string): Identity {
  const isWhole = !audience.includes('/');
  const path = (isWhole ? decoded(audience) : audience).replace(/^amqps?:\/\//i, '').replace(/\/$/, '');
  const [, ...segments] = path.split('/');
  const found = splitIdentity(isWhole ? segments : segments.map(decoded));
  if (found === undefined || found.rest !== '') {
    const text = `The name '${printable(audience)}' is not that of a device or module, HUB/devices/DEVICE.`;
    throw new CulvertError('argument_invalid', text);
  }
  return found.identity;
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
