import { CulvertError } from '../errors.ts';
import { type Identity, identityName, parseDeviceId, parseModuleId, printable } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { SSH_HOST_KEY_PROPERTY, sshHostKeysIn } from '../ssh-host-keys.ts';
import type { IConnectPacket, MqttVersion } from './codec.ts';

/**
 * Seconds of keepalive from which on 1.5 times as long would exceed 1767 s, the longest the preview waits for a sign of life
 * (protocol page 3); 0, "no keepalive", counts as this.
 */
export const MAX_KEEPALIVE_SECONDS = 1177;

/** Milliseconds of silence after which a device is given up, whatever keepalive it asked for or was given. */
const MAX_SILENCE_MS = 1_767_000;

/** Who the device says it is. */
export interface Credentials {
  /** The hub's name as the device knows it. */
  readonly host: string;
  readonly identity: Identity;
  /** The SAS token; undefined when there is none, as with a certificate. */
  readonly password: string | undefined;
  /** What software the device says it is (`DeviceClientType`), at most 128 printable characters; undefined when it says nothing. */
  readonly clientVersion: string | undefined;
  /** Public keys of the device's SSH server, which a Culvert agent names (MQTT 5); undefined when it names none. */
  readonly sshHostKeys: readonly string[] | undefined;
}

/** What a device's CONNECT asks of the connection. */
export interface ConnectTerms {
  readonly version: MqttVersion;
  /** Milliseconds of silence after which the device is gone: 1.5 times its keepalive (MQTT 3.1.1 §3.1.2.10). */
  readonly silenceMs: number;
  /** Whether the device asked for no keepalive or a longer one than {@link MAX_KEEPALIVE_SECONDS}; MQTT 5 can be told. */
  readonly capsKeepalive: boolean;
  /** Bytes of a packet the device takes; Infinity when it named no limit. */
  readonly maxPacketBytes: number;
  /** QoS 1 publications the device takes at once before acknowledging one. */
  readonly receiveMaximum: number;
}

/** @throws CulvertError with which the connection is to be refused */
export function parseConnect(packet: IConnectPacket): { terms: ConnectTerms; credentials: Credentials } {
  const version = packet.protocolVersion;
  if (version !== 4 && version !== 5) throw new CulvertError('protocol_unsupported');
  const { properties, will } = packet;
  if (properties?.authenticationMethod !== undefined)
    throw new CulvertError('unauthorized', 'Enhanced authentication is not supported.');
  // A will is taken and never published: there is nobody to publish it to. MQTT 5 §3.2.2.3.4 wants this one refused.
  if (version === 5 && will?.qos === 2) throw new CulvertError('qos_unsupported', 'A will of QoS 2 is not supported.');
  const keepalive = packet.keepalive ?? 0;
  const capped = keepalive === 0 || keepalive > MAX_KEEPALIVE_SECONDS;
  const terms: ConnectTerms = {
    version,
    silenceMs: capped ? MAX_SILENCE_MS : keepalive * 1500,
    capsKeepalive: capped,
    maxPacketBytes: positive(properties?.maximumPacketSize, 'Maximum Packet Size') ?? Number.POSITIVE_INFINITY,
    receiveMaximum: positive(properties?.receiveMaximum, 'Receive Maximum') ?? 65_535,
  };
  return { terms, credentials: parseCredentials(packet) };
}

/** A property that is a protocol error when zero or given twice (MQTT 5 §3.1.2.11). */
function positive(value: unknown, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < 1) throw new CulvertError('protocol_error', `A malformed ${name}.`);
  return value;
}

/**
 * Username `{host}/{device}/?api-version=…`, also without the `?`, with any parameters or none; the client id is the device id.
 * A module's username has one level more, its client id a slash.
 */
function parseCredentials(packet: IConnectPacket): Credentials {
  const { username, clientId } = packet;
  if (username === undefined || username === '')
    throw new CulvertError('unauthorized', 'A username {hub}/{device}/?api-version=… is needed.');
  const [host = '', deviceId = '', third = ''] = username.split('/');
  const isQuery = third === '' || third.startsWith('?') || /^[\w-]+=/.test(third);
  // A module whose id looks like a parameter is told from one by the client id, which has it too.
  const isModule = third !== '' && clientId === `${deviceId}/${third}`;
  if (!isQuery && !isModule) throw unlike(clientId);
  const identity: Identity = {
    deviceId: parseDeviceId(deviceId),
    ...(isModule ? { moduleId: parseModuleId(third) } : {}),
  };
  if (host === '' || host.length > 512)
    throw new CulvertError('argument_invalid', 'The username does not begin with the name of a hub.');
  if (clientId !== identityName(identity)) throw unlike(clientId);
  const password = packet.password;
  if (password !== undefined && password.length > LIMITS.sasTokenBytes)
    throw new CulvertError('unauthorized', 'The password is too long for a SAS token.');
  // An empty one is no token: some clients with a certificate send it.
  return {
    host,
    identity,
    password: password === undefined || password.length === 0 ? undefined : password.toString('utf8'),
    clientVersion: clientVersionIn(username),
    sshHostKeys: hostKeysIn(packet),
  };
}

/** Nothing depends on it, so one that is malformed is none. */
function clientVersionIn(username: string): string | undefined {
  const [, escaped] = /[?&/]DeviceClientType=([^&]+)/.exec(username) ?? [];
  try {
    return escaped === undefined ? undefined : printable(decodeURIComponent(escaped), LIMITS.clientVersionCharacters);
  } catch {
    return undefined;
  }
}

/** As above: what is no key, and too much, is left out. */
function hostKeysIn({ properties }: IConnectPacket): readonly string[] | undefined {
  const named = properties?.userProperties?.[SSH_HOST_KEY_PROPERTY];
  return named === undefined ? undefined : sshHostKeysIn([named].flat());
}

function unlike(clientId: string): CulvertError {
  return new CulvertError(
    'argument_invalid',
    `The client id '${printable(clientId, 128)}' is not the device id of the username, nor DEVICE/MODULE of a module's.`,
  );
}
