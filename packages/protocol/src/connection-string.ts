import { CulvertError } from './errors.ts';
import { type Identity, parseDeviceId, parseModuleId } from './ids.ts';

/** The common part of all connection strings: the address of the hub. */
interface HubAddress {
  /** The hub's host name or IP address (IPv6 without brackets). */
  readonly host: string;
  /** The hub's port; 443 when the string contains none. */
  readonly port: number;
}

/** A service's connection string: the name and key of a shared access policy. */
export interface ServiceConnectionString extends HubAddress {
  readonly policy: string;
  /** The policy's key in base64. */
  readonly key: string;
}

/** A device's or module's connection string: its id, and one of a key, an existing SAS token, or `x509=true` for a client certificate. */
export interface DeviceConnectionString extends HubAddress, Identity {
  /** The device's key in base64; the policy's key when `policy` is given. */
  readonly key?: string;
  /** A SAS token made by another program. It cannot be renewed, because the key is unknown. */
  readonly token?: string;
  /** The policy that the key belongs to. A gateway uses such a key to connect on behalf of any device. */
  readonly policy?: string;
  /** `x509=true`: there is neither a key nor a token; the device authenticates with a client certificate. */
  readonly x509?: boolean;
}

const KEYS = [
  'HostName',
  'DeviceId',
  'ModuleId',
  'SharedAccessKeyName',
  'SharedAccessKey',
  'SharedAccessSignature',
  'GatewayHostName',
  'CredentialType',
  'x509',
] as const;
type Key = (typeof KEYS)[number];

// A device id may contain `;` and `=`, so a `;` ends a value only when a known key follows it.
const SEPARATOR = new RegExp(`;(?=(?:${KEYS.join('|')})=)`, 'i');

function fields(text: string): Map<Key, string> {
  const found = new Map<Key, string>();
  for (const part of text.trim().replace(/;$/, '').split(SEPARATOR)) {
    const at = part.indexOf('=');
    const name = part.slice(0, at).toLowerCase();
    const key = KEYS.find((known) => known.toLowerCase() === name);
    if (at < 1 || key === undefined) {
      throw new CulvertError(
        'argument_invalid',
        'This is not a connection string: it must read HostName=…;SharedAccessKeyName=…;SharedAccessKey=… or HostName=…;DeviceId=…;SharedAccessKey=…',
      );
    }
    if (found.has(key)) throw new CulvertError('argument_invalid', `The connection string names ${key} twice.`);
    found.set(key, part.slice(at + 1));
  }
  return found;
}

function required(found: Map<Key, string>, key: Key): string {
  const value = found.get(key);
  if (value === undefined || value === '')
    throw new CulvertError('argument_invalid', `The connection string has no ${key}.`);
  return value;
}

function base64Key(text: string): string {
  if (!/^[A-Za-z0-9+/]{4,}={0,2}$/.test(text) || text.length % 4 !== 0) {
    throw new CulvertError('argument_invalid', 'The SharedAccessKey of the connection string is not base64.');
  }
  return text;
}

/**
 * Splits `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
 * @throws CulvertError `argument_invalid`
 */
export function parseHostPort(text: string, defaultPort: number): HubAddress {
  const match =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)|([0-9a-fA-F:]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? match?.[3];
  const port = match?.[4] === undefined ? defaultPort : Number(match[4]);
  if (host === undefined || port > 65_535)
    throw new CulvertError('argument_invalid', `'${text}' is not HOST or HOST:PORT.`);
  return { host, port };
}

/** `host:port`; an IPv6 address is enclosed in brackets. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host as written in connection strings and audiences: without the port if it is 443, the only port that Azure's clients support. */
export function formatAuthority(host: string, port: number): string {
  if (port !== 443) return formatHostPort(host, port);
  return host.includes(':') ? `[${host}]` : host;
}

/**
 * Reads `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.
 * @throws CulvertError `argument_invalid`; its message never contains the key
 */
export function parseServiceConnectionString(text: string): ServiceConnectionString {
  const found = fields(text);
  if (found.has('DeviceId'))
    throw new CulvertError(
      'argument_invalid',
      "This is a device's connection string; a service's connection string is needed (SharedAccessKeyName=…).",
    );
  return {
    ...parseHostPort(required(found, 'HostName'), 443),
    policy: required(found, 'SharedAccessKeyName'),
    key: base64Key(required(found, 'SharedAccessKey')),
  };
}

/**
 * Reads `HostName=…;DeviceId=…[;ModuleId=…]` with `;SharedAccessKey=…`, `;SharedAccessSignature=…` or `;x509=true`.
 * @throws CulvertError `argument_invalid`; its message never contains the key
 */
export function parseDeviceConnectionString(text: string): DeviceConnectionString {
  const found = fields(text);
  if (!found.has('DeviceId'))
    throw new CulvertError('argument_invalid', "This is not a device's connection string: it has no DeviceId.");
  const moduleId = found.get('ModuleId');
  const identity = {
    ...parseHostPort(required(found, 'HostName'), 443),
    deviceId: parseDeviceId(required(found, 'DeviceId')),
    ...(moduleId === undefined ? {} : { moduleId: parseModuleId(moduleId) }),
  };
  if (found.get('x509')?.toLowerCase() === 'true') return { ...identity, x509: true };
  const token = found.get('SharedAccessSignature');
  if (token !== undefined) return { ...identity, token };
  const policy = found.get('SharedAccessKeyName');
  return { ...identity, key: base64Key(required(found, 'SharedAccessKey')), ...(policy ? { policy } : {}) };
}

/** Writes a service's connection string. */
export function formatServiceConnectionString(value: ServiceConnectionString): string {
  return `HostName=${formatAuthority(value.host, value.port)};SharedAccessKeyName=${value.policy};SharedAccessKey=${value.key}`;
}

/** Writes a device's or module's connection string with its key; if `key` is null, one for a client certificate. */
export function formatDeviceConnectionString(value: HubAddress & Identity & { readonly key: string | null }): string {
  const module = value.moduleId === undefined ? '' : `;ModuleId=${value.moduleId}`;
  const proof = value.key === null ? 'x509=true' : `SharedAccessKey=${value.key}`;
  return `HostName=${formatAuthority(value.host, value.port)};DeviceId=${value.deviceId}${module};${proof}`;
}
