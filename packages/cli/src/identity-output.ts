import {
  type DeviceIdentity,
  formatDeviceConnectionString,
  type ModuleIdentity,
  type PresenceView,
  parseServiceConnectionString,
  type UnansweredView,
} from '@culvert/protocol';
import { authenticationName } from './authentication-flags.ts';
import { fingerprint } from './ssh/fingerprint.ts';
import { type OutputFormat, pairs, writeJson, writeOut } from './standard-output.ts';

/** Options of how a device or module is shown. */
export interface IdentityOutput {
  readonly output: OutputFormat;
  /** Whether its keys, and a connection string with a key, are shown. Authentication by a certificate has no secret and is always shown. */
  readonly keys: boolean;
  /** Since when it is online, or why it went offline, if known. */
  readonly presence?: PresenceView | undefined;
}

/** Prints one device or module. `hub`: the service's connection string, which holds the hub's name as this machine uses it. */
export function writeIdentity(
  identity: DeviceIdentity | ModuleIdentity,
  hub: string,
  { output, keys, presence }: IdentityOutput,
): Promise<void> {
  const { type } = identity.authentication;
  const shown = keys || type !== 'sas';
  const connectionString = shown ? connectionStringOf(identity, hub) : undefined;
  if (output === 'json') {
    const authentication = shown ? identity.authentication : { type };
    const shownPresence = presence === undefined ? {} : { presence };
    const string = connectionString === undefined ? {} : { connectionString };
    return writeJson({ ...identity, ...shownPresence, authentication, ...string });
  }
  return writeOut(
    pairs([
      ['Device', identity.deviceId],
      ...('moduleId' in identity ? moduleRows(identity) : deviceRows(identity)),
      ['Connection', identity.connectionState],
      ...(identity.unansweredOffers === undefined
        ? []
        : [['Not answering', unansweredText(identity.unansweredOffers)] as const]),
      ...(presence === undefined ? [] : presenceRows(presence)),
      ['Authentication', authenticationName(type)],
      ...(identity.sshHostKeys ?? []).map((key) => ['SSH host key', fingerprint(key)] as const),
      ...thumbprints(identity).map((thumbprint) => ['Thumbprint', thumbprint] as const),
      ...(connectionString === undefined ? [] : [['Connection string', connectionString] as const]),
    ]),
  );
}

/** The number of unanswered stream requests of a connected device, and since when. */
export function unansweredText({ count, since }: UnansweredView): string {
  return `${count} unanswered since ${since}`;
}

function deviceRows({ status, statusReason }: DeviceIdentity): readonly (readonly [string, string])[] {
  return [
    ['Status', status],
    ...(status === 'enabled' || statusReason === null ? [] : [['Reason', statusReason] as const]),
  ];
}

function moduleRows({ moduleId, managedBy }: ModuleIdentity): readonly (readonly [string, string])[] {
  return [['Module', moduleId], ...(managedBy === null ? [] : [['Managed by', managedBy] as const])];
}

function presenceRows({ online, since, protocol, address, streams, last }: PresenceView): [string, string][] {
  const now: [string, string][] = online
    ? [
        ['Online since', since ?? '-'],
        ['By', `${protocol} from ${address}`],
        ['Streams', `${streams}`],
      ]
    : [];
  return last === null ? now : [...now, ['Last went', `${last.at}, ${last.error}: ${last.detail}`]];
}

function thumbprints({ authentication }: DeviceIdentity | ModuleIdentity): readonly string[] {
  const { primaryThumbprint, secondaryThumbprint } = authentication.x509Thumbprint;
  return [primaryThumbprint, secondaryThumbprint].filter((thumbprint) => thumbprint !== null);
}

/** Undefined for an identity that can never authenticate. */
function connectionStringOf(identity: DeviceIdentity | ModuleIdentity, hub: string): string | undefined {
  const { type, symmetricKey } = identity.authentication;
  if (type === 'none') return undefined;
  const { host, port } = parseServiceConnectionString(hub);
  const { deviceId } = identity;
  const module = 'moduleId' in identity ? { moduleId: identity.moduleId } : {};
  return formatDeviceConnectionString({ host, port, deviceId, ...module, key: symmetricKey.primaryKey });
}
