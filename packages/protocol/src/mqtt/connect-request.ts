import { ANNOUNCEMENT_PROPERTY } from '../announcement.ts';
import { CulvertError } from '../errors.ts';
import { type Identity, identityName, parseDeviceId, parseModuleId, printable } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { SSH_HOST_KEY_PROPERTY, sshHostKeysIn } from '../ssh-host-keys.ts';
import type { IConnectPacket, MqttVersion } from './codec.ts';
import { textProperty } from './user-properties.ts';

/**
 * Maximum keepalive in seconds: 1.5 times the keepalive must not exceed 1767 s, the longest silence that Azure allows (protocol page 3). A
 * keepalive of 0, which requests none, is treated as this maximum.
 */
export const MAX_KEEPALIVE_SECONDS = 1177;

/** Maximum milliseconds of silence after which a device counts as lost, for every requested keepalive. */
const MAX_SILENCE_MS = 1_767_000;

/** The identity that a device claims in its CONNECT, and its proof. */
export interface Credentials {
  /** The hub's host name in the device's username. */
  readonly host: string;
  readonly identity: Identity;
  /** The SAS token; undefined when the device sent none, for example because it uses a certificate. */
  readonly password: string | undefined;
  /** The device's software name (`DeviceClientType`), at most 128 printable characters; undefined when absent. */
  readonly clientVersion: string | undefined;
  /** Public keys of the device's SSH server, which a Culvert agent sends (MQTT 5); undefined when none were sent. */
  readonly sshHostKeys: readonly string[] | undefined;
  /** The announcement's text, neither read nor checked (MQTT 5); undefined when none was sent. */
  readonly announcement: string | undefined;
}

/** The parsed CONNECT of a device. */
export interface ConnectOptions {
  readonly version: MqttVersion;
  /** Milliseconds of silence after which the device counts as lost: 1.5 times its keepalive (MQTT 3.1.1 §3.1.2.10). */
  readonly silenceMs: number;
  /** Whether the device requested no keepalive or one longer than {@link MAX_KEEPALIVE_SECONDS}. MQTT 5 clients are then sent the maximum in CONNACK. */
  readonly capsKeepalive: boolean;
  /** Maximum bytes of a packet sent to the device; Infinity when the device set no limit. */
  readonly maxPacketBytes: number;
  /** Maximum unacknowledged QoS 1 publications to the device, as it requested (default 65,535). */
  readonly receiveMaximum: number;
}

/** Parses a device's CONNECT. @throws CulvertError the error with which the connection must be refused */
export function parseConnect(packet: IConnectPacket): { options: ConnectOptions; credentials: Credentials } {
  const version = packet.protocolVersion;
  if (version !== 4 && version !== 5) throw new CulvertError('protocol_unsupported');
  const { properties, will } = packet;
  if (properties?.authenticationMethod !== undefined)
    throw new CulvertError('unauthorized', 'Enhanced authentication is not supported.');
  // Other wills are accepted, but never published because there are no subscribers. MQTT 5 §3.2.2.3.4 requires that a will of QoS 2 is refused.
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

/** Checks a property that must not be zero or be sent twice (MQTT 5 §3.1.2.11). @throws CulvertError `protocol_error` */
function positive(value: unknown, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < 1) throw new CulvertError('protocol_error', `A malformed ${name}.`);
  return value;
}

/**
 * Parses the username `{host}/{device}/?api-version=…`. The `?` may be missing, and any or no parameters may follow. The client id must be
 * the device id. For a module the username is `{host}/{device}/{module}/…` and the client id is `{device}/{module}`.
 */
function parseCredentials(packet: IConnectPacket): Credentials {
  const { username, clientId } = packet;
  if (username === undefined || username === '')
    throw new CulvertError('unauthorized', 'A username {hub}/{device}/?api-version=… is needed.');
  const [host = '', deviceId = '', third = ''] = username.split('/');
  const isQuery = third === '' || third.startsWith('?') || /^[\w-]+=/.test(third);
  // A module id may look like parameters. Then the client id, which also contains the module id, shows that it is a module.
  const isModule = third !== '' && clientId === `${deviceId}/${third}`;
  if (!isQuery && !isModule) throw clientIdMismatch(clientId);
  const identity: Identity = {
    deviceId: parseDeviceId(deviceId),
    ...(isModule ? { moduleId: parseModuleId(third) } : {}),
  };
  if (host === '' || host.length > 512)
    throw new CulvertError('argument_invalid', 'The username does not begin with the name of a hub.');
  if (clientId !== identityName(identity)) throw clientIdMismatch(clientId);
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
    announcement: textProperty(packet.properties, ANNOUNCEMENT_PROPERTY),
  };
}

/** The client version in the username; undefined when absent. It is only informative, so a malformed one is ignored. */
function clientVersionIn(username: string): string | undefined {
  const [, escaped] = /[?&/]DeviceClientType=([^&]+)/.exec(username) ?? [];
  try {
    return escaped === undefined ? undefined : printable(decodeURIComponent(escaped), LIMITS.clientVersionCharacters);
  } catch {
    return undefined;
  }
}

/** The SSH host keys in the CONNECT; undefined when none were sent. Invalid keys are ignored, and all keys if there are too many of them. */
function hostKeysIn({ properties }: IConnectPacket): readonly string[] | undefined {
  const named = properties?.userProperties?.[SSH_HOST_KEY_PROPERTY];
  return named === undefined ? undefined : sshHostKeysIn([named].flat());
}

function clientIdMismatch(clientId: string): CulvertError {
  return new CulvertError(
    'argument_invalid',
    `The client id '${printable(clientId, 128)}' does not match the username: it must be the device id, or DEVICE/MODULE for a module.`,
  );
}
