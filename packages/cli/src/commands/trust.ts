import {
  CulvertError,
  formatAuthority,
  parseDeviceId,
  parseHostPort,
  parseModuleId,
  parseServiceConnectionString,
} from '@culvert/protocol';
import { KnownDevices, type Pin, type PinnedName, parseFingerprint } from '@culvert/session/keys';
import { systemClock } from '@culvert/stream';
import { openUserKey, userFiles } from '../end-keys.ts';
import { type ConnectionFlags, type Surroundings, serviceConnection, surroundings } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { type OutputFormat, pairs, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of the `trust` commands. */
export interface TrustCommandFlags extends ConnectionFlags {
  /** `HOST` or `HOST:PORT`, as in connection strings. Default: the hub that the connection flags or the environment name. */
  readonly hub?: string;
  readonly module?: string;
  readonly output: OutputFormat;
}

/** `culvert trust list`: the pinned keys, of all hubs or of that of `--hub`. */
export async function listTrust({ hub, output }: TrustCommandFlags): Promise<void> {
  const wanted = hub === undefined ? undefined : hubText(hub);
  const pins = (await knownDevices(surroundings()).list()).filter((pin) => wanted === undefined || pin.hub === wanted);
  if (output === 'json') return writeJson(pins);
  return writeOut(
    table(
      ['HUB', 'DEVICE', 'MODULE', 'FINGERPRINT', 'SINCE'],
      pins.map(({ hub, deviceId, moduleId = '-', fingerprint, since }) => [
        hub,
        deviceId,
        moduleId,
        fingerprint,
        since,
      ]),
    ),
  );
}

/** `culvert trust show [DEVICE]`: this user's own fingerprint, or that of a device. @throws CulvertError `argument_invalid` when it has no pin */
export async function showTrust(device: string | undefined, flags: TrustCommandFlags): Promise<void> {
  const around = surroundings();
  if (device !== undefined) {
    const name = pinnedName(device, flags, around);
    return writePin((await knownDevices(around).find(name)) ?? missing(name), flags.output);
  }
  const { fingerprint } = await openUserKey(around);
  const { key } = userFiles(around);
  if (flags.output === 'json') return writeJson({ fingerprint, keyFile: key });
  return writeOut(
    pairs([
      ['Own fingerprint', fingerprint],
      ['Key file', key],
    ]),
  );
}

/** `culvert trust add DEVICE FINGERPRINT`: pins a key that the user has got from whoever runs the device. */
export async function addTrust(device: string, fingerprint: string, flags: TrustCommandFlags): Promise<void> {
  const around = surroundings();
  const name = pinnedName(device, flags, around);
  const pins = knownDevices(around);
  const replaced = await pins.add(name, parseFingerprint(fingerprint));
  if (replaced !== undefined && replaced.fingerprint !== fingerprint) tell(`replaced ${replaced.fingerprint}`);
  await writePin((await pins.find(name)) ?? missing(name), flags.output);
}

/** `culvert trust forget DEVICE`: the device's next key is accepted and pinned. @throws CulvertError `argument_invalid` when it has no pin */
export async function forgetTrust(device: string, flags: TrustCommandFlags): Promise<void> {
  const around = surroundings();
  const name = pinnedName(device, flags, around);
  const removed = (await knownDevices(around).forget(name)) ?? missing(name);
  tell(`forgot the key of ${describe(removed)}; its next key is accepted`);
  await writePin(removed, flags.output);
}

function knownDevices(around: Surroundings): KnownDevices {
  return new KnownDevices(userFiles(around).knownDevices, systemClock);
}

function pinnedName(device: string, flags: TrustCommandFlags, around: Surroundings): PinnedName {
  const deviceId = parseDeviceId(device);
  const hub = flags.hub === undefined ? connectedHub(flags, around) : hubText(flags.hub);
  return flags.module === undefined ? { hub, deviceId } : { hub, deviceId, moduleId: parseModuleId(flags.module) };
}

function connectedHub(flags: TrustCommandFlags, around: Surroundings): string {
  const { connectionString } = serviceConnection(flags, 'service', around);
  const { host, port } = parseServiceConnectionString(connectionString);
  return formatAuthority(host, port).toLowerCase();
}

function hubText(text: string): string {
  const { host, port } = parseHostPort(text, 443);
  return formatAuthority(host, port).toLowerCase();
}

function writePin(pin: Pin, output: OutputFormat): Promise<void> {
  if (output === 'json') return writeJson(pin);
  return writeOut(
    pairs([
      ['Hub', pin.hub],
      ['Device', pin.deviceId],
      ...(pin.moduleId === undefined ? [] : [['Module', pin.moduleId] as const]),
      ['Fingerprint', pin.fingerprint],
      ['Since', pin.since],
    ]),
  );
}

function missing(name: PinnedName): never {
  throw new CulvertError(
    'argument_invalid',
    `no key of ${describe(name)} is pinned; \`culvert trust list\` shows those that are`,
  );
}

function describe({ hub, deviceId, moduleId }: PinnedName): string {
  return `${deviceId}${moduleId === undefined ? '' : `/${moduleId}`} at ${hub}`;
}
