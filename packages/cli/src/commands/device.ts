import { randomBytes } from 'node:crypto';
import {
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type DeviceStatus,
  formatDeviceConnectionString,
  parseServiceConnectionString,
} from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { type OutputFormat, pairs, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of every `device` command. */
export type DeviceFlags = ConnectionFlags & { readonly output: OutputFormat };

/** What `create` and `update` may set. */
export interface DeviceSettings {
  readonly status?: DeviceStatus;
  readonly statusReason?: string;
}

/** Devices shown under one heading, so that a list of any length needs no more memory than this many. */
const TABLE_ROWS = 1_000;

/** `culvert device create ID`: the one time the connection string is shown without asking. */
export function createDevice(deviceId: string, flags: DeviceFlags & DeviceSettings): Promise<void> {
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const device = await client.devices.create(deviceId, settings(flags));
    await writeDevice(device, hub, { ...flags, keys: true });
  });
}

/** `culvert device show ID`: keys in JSON, in a table only with `--keys`. */
export function showDevice(deviceId: string, flags: DeviceFlags & { readonly keys?: boolean }): Promise<void> {
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const device = await client.devices.get(deviceId);
    await writeDevice(device, hub, { ...flags, keys: flags.keys === true || flags.output === 'json' });
  });
}

/** `culvert device update ID`: fails when somebody else changed the device at the same time. */
export function updateDevice(
  deviceId: string,
  flags: DeviceFlags & DeviceSettings & { readonly rotateKey?: boolean },
): Promise<void> {
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const rotate = flags.rotateKey === true;
    if (!rotate && flags.status === undefined && flags.statusReason === undefined) {
      throw new CulvertError('usage', 'nothing to change: give --status, --status-reason or --rotate-key');
    }
    const current = await client.devices.get(deviceId);
    const device = await client.devices.update(changed(current, flags, rotate), { etag: current.etag });
    if (rotate) tell(`${deviceId} has a new key; the one before works until it is rotated again`);
    await writeDevice(device, hub, { ...flags, keys: rotate });
  });
}

/** `culvert device delete ID`. */
export function deleteDevice(deviceId: string, flags: ConnectionFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    await client.devices.delete(deviceId);
    tell(`${deviceId} was deleted`);
  });
}

/** `culvert device list`: page by page, never with keys. */
export function listDevices(flags: DeviceFlags): Promise<void> {
  return withClient(flags, 'iothubowner', (client) => (flags.output === 'json' ? listJson(client) : listTable(client)));
}

async function listJson(client: ServiceClient): Promise<void> {
  let separator = '[\n';
  for await (const { authentication, ...shown } of client.devices.list()) {
    await writeOut(`${separator}${JSON.stringify({ ...shown, authentication: { type: authentication.type } })}`);
    separator = ',\n';
  }
  await writeOut(separator === '[\n' ? '[]\n' : '\n]\n');
}

async function listTable(client: ServiceClient): Promise<void> {
  const headings = ['DEVICE', 'STATUS', 'CONNECTION', 'REASON'];
  let rows: string[][] = [];
  let shown = 0;
  for await (const device of client.devices.list()) {
    rows.push([device.deviceId, device.status, device.connectionState, device.statusReason ?? '']);
    if (rows.length < TABLE_ROWS) continue;
    await writeOut(table(headings, rows));
    shown += rows.length;
    rows = [];
  }
  if (rows.length > 0 || shown === 0) await writeOut(table(headings, rows));
}

function settings({ status, statusReason }: DeviceSettings): DeviceIdentityInput {
  return { ...(status === undefined ? {} : { status }), ...(statusReason === undefined ? {} : { statusReason }) };
}

function changed(
  current: DeviceIdentity,
  flags: DeviceSettings,
  rotate: boolean,
): DeviceIdentityInput & { deviceId: string } {
  const { deviceId, status, statusReason } = current;
  const secondaryKey = current.authentication.symmetricKey.primaryKey;
  // 32 bytes, as the hub makes them.
  const symmetricKey = { primaryKey: randomBytes(32).toString('base64'), secondaryKey };
  return {
    deviceId,
    status,
    statusReason,
    ...settings(flags),
    ...(rotate ? { authentication: { type: 'sas', symmetricKey } } : {}),
  };
}

function writeDevice(
  device: DeviceIdentity,
  hub: string,
  flags: { readonly output: OutputFormat; readonly keys: boolean },
): Promise<void> {
  const { symmetricKey, type } = device.authentication;
  const { host, port } = parseServiceConnectionString(hub);
  const { deviceId } = device;
  const connectionString = formatDeviceConnectionString({ host, port, deviceId, key: symmetricKey.primaryKey });
  if (flags.output === 'json') {
    return writeJson(flags.keys ? { ...device, connectionString } : { ...device, authentication: { type } });
  }
  return writeOut(
    pairs([
      ['Device', deviceId],
      ['Status', device.status],
      ...(device.statusReason === null ? [] : [['Reason', device.statusReason] as const]),
      ['Connection', device.connectionState],
      ...(flags.keys ? [['Connection string', connectionString] as const] : []),
    ]),
  );
}
