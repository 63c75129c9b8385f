import {
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type DeviceStatus,
  type PresenceView,
} from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { type AuthenticationFlags, authenticationInput } from '../authentication-flags.ts';
import { warnIfCertificateNeverAsked } from '../certificate-warning.ts';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { unansweredText, writeIdentity } from '../identity-output.ts';
import { tell } from '../messages.ts';
import { rotatedKey } from '../rotated-key.ts';
import { type OutputFormat, table, writeOut } from '../standard-output.ts';

/** Flags of every `device` command. */
export type DeviceFlags = ConnectionFlags & { readonly output: OutputFormat };

/** The settings that `create` and `update` accept. */
export interface DeviceSettings extends AuthenticationFlags {
  readonly status?: DeviceStatus;
  readonly statusReason?: string;
}

/** Devices shown under one heading. A list of any length needs no more memory than this number of devices. */
const TABLE_ROWS = 1_000;

/** `culvert device create ID`: the only command that shows the connection string without a flag. */
export function createDevice(deviceId: string, flags: DeviceFlags & DeviceSettings): Promise<void> {
  const input = settings(flags);
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const device = await client.devices.create(deviceId, input);
    await warnIfCertificateNeverAsked(client, device);
    await writeIdentity(device, hub, { ...flags, keys: true });
  });
}

/** `culvert device show ID`: JSON output includes the keys; a table shows them only with `--keys`. */
export function showDevice(deviceId: string, flags: DeviceFlags & { readonly keys?: boolean }): Promise<void> {
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const [device, presence] = await Promise.all([client.devices.get(deviceId), presenceOf(client, deviceId)]);
    const keys = flags.keys === true || flags.output === 'json';
    await writeIdentity(device, hub, { output: flags.output, keys, presence });
  });
}

/** `culvert device update ID`: fails when another client changed the device at the same time. */
export function updateDevice(
  deviceId: string,
  flags: DeviceFlags & DeviceSettings & { readonly rotateKey?: boolean; readonly forgetHostKeys?: boolean },
): Promise<void> {
  const forget = flags.forgetHostKeys === true ? { sshHostKeys: [] } : {};
  const input = { ...settings(flags), ...forget };
  const rotate = flags.rotateKey === true;
  if (!rotate && Object.keys(input).length === 0) {
    throw new CulvertError(
      'usage',
      'nothing to change: give --status, --status-reason, --rotate-key, --forget-host-keys or --auth',
    );
  }
  if (rotate && input.authentication !== undefined) {
    throw new CulvertError('usage', '--rotate-key keeps the authentication as it is: leave out --auth');
  }
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const { authentication, etag } = await client.devices.get(deviceId);
    const rotated = rotate ? { authentication: rotatedKey(deviceId, authentication) } : {};
    const device = await client.devices.update({ deviceId, ...input, ...rotated }, { etag });
    if (input.authentication !== undefined) await warnIfCertificateNeverAsked(client, device);
    if (rotate) tell(`${deviceId} has a new key; the one before works until it is rotated again`);
    if (flags.forgetHostKeys === true)
      tell(`the host keys of ${deviceId} are forgotten; its agent sends them again when it attaches`);
    await writeIdentity(device, hub, { ...flags, keys: rotate || input.authentication !== undefined });
  });
}

/** `culvert device delete ID`. */
export function deleteDevice(deviceId: string, flags: ConnectionFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    await client.devices.delete(deviceId);
    tell(`${deviceId} was deleted`);
  });
}

/** `culvert device list`: fetches page by page, never shows keys. */
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
    rows.push([device.deviceId, device.status, connectionOf(device), reasonOf(device)]);
    if (rows.length < TABLE_ROWS) continue;
    await writeOut(table(headings, rows));
    shown += rows.length;
    rows = [];
  }
  if (rows.length > 0 || shown === 0) await writeOut(table(headings, rows));
}

/** Marks a device that is connected but unresponsive. */
function connectionOf({ connectionState, unansweredOffers }: DeviceIdentity): string {
  return unansweredOffers === undefined ? connectionState : `${connectionState}, ${unansweredText(unansweredOffers)}`;
}

/** Hides the status reason of an enabled device, since it belongs to an earlier status; JSON output still has it. */
function reasonOf({ status, statusReason }: DeviceIdentity): string {
  return status === 'enabled' ? '' : (statusReason ?? '');
}

function settings(flags: DeviceSettings): DeviceIdentityInput {
  const { status, statusReason } = flags;
  const authentication = authenticationInput(flags);
  return {
    ...(status === undefined ? {} : { status }),
    ...(statusReason === undefined ? {} : { statusReason }),
    ...(authentication === undefined ? {} : { authentication }),
  };
}

/** A policy that may read devices may still lack the permission for presence; the presence is then left out. */
async function presenceOf(client: ServiceClient, deviceId: string): Promise<PresenceView | undefined> {
  try {
    return await client.devices.presence(deviceId);
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'forbidden') return undefined;
    throw error;
  }
}
