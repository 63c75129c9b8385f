import { CulvertError } from '../errors.ts';
import { type Identity, identityName, parseDeviceId, parseModuleId, printable } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { SSH_HOST_KEY_PROPERTY, sshHostKeysIn } from '../ssh-host-keys.ts';
import type { IConnectPacket, MqttVersion } from './codec.ts';

/**
 * Maximum keepalive in seconds: 1.5 times as long must not exceed 1767 s, the longest that Azure waits for a sign of life
 * (protocol page 3); 0, "no keepalive", counts as this.
 */
export const MAX_KEEPALIVE_SECONDS = 1177;

/** Maximum milliseconds of silence after which a device counts as lost, whatever keepalive it requested. */
const MAX_SILENCE_MS = 1_767_000;

/** The identity that the device claims. */
export interface Credentials {
  /** The hub's name as the device knows it. */
  readonly host: string;
  readonly identity: Identity;
  /** The SAS token; undefined when there is none, as with a certificate. */
  readonly password: string | undefined;
  /** The device's software name (`DeviceClientType`), at most 128 printable characters; undefined when absent. */
  readonly clientVersion: string | undefined;
  /** Public keys of the device's SSH server, which a Culvert agent names (MQTT 5); undefined when it names none. */
  readonly sshHostKeys: readonly string[] | undefined;
}

/** The parsed CONNECT of a device. */
export interface ConnectOptions {
  readonly version: MqttVersion;
  /** Milliseconds of silence after which the device counts as lost: 1.5 times its keepalive (MQTT 3.1.1 §3.1.2.10). */
  readonly silenceMs: number;
  /** Whether the device requested no keepalive or one longer than {@link MAX_KEEPALIVE_SECONDS}; MQTT 5 clients are told the actual one. */
  readonly capsKeepalive: boolean;
  /** Maximum bytes of a packet to the device; Infinity when it named no limit. */
  readonly maxPacketBytes: number;
  /** Maximum unacknowledged QoS 1 publications to the device. */
  readonly receiveMaximum: number;
}

/** @throws CulvertError with which the connection is to be refused */
export function parseConnect(packet: IConnectPacket): { options: ConnectOptions; credentials: Credentials } {
  const version = packet.protocolVersion;
  if (version !== 4 && version !== 5) throw new CulvertError('protocol_unsupported');
  const { properties, will } = packet;
  if (properties?.authenticationMethod !== undefined)
    throw new CulvertError('unauthorized', 'Enhanced authentication is not supported.');
  // A will is accepted and never published: there are no subscribers. MQTT 5 §3.2.2.3.4 requires refusing this one.
  if (version === 5 && will?.qos === 2) throw new CulvertError('qos_unsupported', 'A will of QoS 2 is not supported.');
  const keepalive = packet.keepalive ?? 0;
  const capped = keepalive === 0 || keepalive > MAX_KEEPALIVE_SECONDS;
  const options: ConnectOptions = {
    version,
    silenceMs: capped ? MAX_SILENCE_MS : keepalive * 1500,
    capsKeepalive: capped,
    maxPacketBytes: positive(properties?.maximumPacketSize, 'Maximum Packet Size') ?? Number.POSITIVE_INFINITY,
    receiveMaximum: positive(properties?.receiveMaximum, 'Receive Maximum') ?? 65_535,
  };
  return { options, credentials: parseCredentials(packet) };
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
  // A module whose id looks like a parameter is recognised by the client id, which contains it too.
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
  // Some clients with a certificate send an empty password.
  return {
    host,
    identity,
    password: password === undefined || password.length === 0 ? undefined : password.toString('utf8'),
    clientVersion: clientVersionIn(username),
    sshHostKeys: hostKeysIn(packet),
  };
}

/** Only informative, so a malformed one is ignored. */
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
