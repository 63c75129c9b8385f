import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';

let hub: TestHub;
let service: ServiceClient;
const devices: DeviceClient[] = [];

beforeEach(async () => {
  hub = await startHub();
  service = ServiceClient.fromConnectionString(await hub.policy('service'), { outbound: hub.outbound });
});
afterEach(async () => {
  for (const device of devices.splice(0)) await device.close();
  service.close();
  await hub.stop();
});

/** Returns an Ed25519 public key in the format of a `.pub` file, with a comment. */
function key(seed: number): string {
  const name = Buffer.from('ssh-ed25519');
  const length = (n: number) => Buffer.from([0, 0, 0, n]);
  const blob = Buffer.concat([length(name.length), name, length(32), Buffer.alloc(32, seed)]);
  return `ssh-ed25519 ${blob.toString('base64')} root@press-7`;
}
const registered = (seed: number) => key(seed).replace(/ root@.*/, '');

async function attach(connectionString: string, sshHostKeys: readonly string[]): Promise<void> {
  const device = DeviceClient.fromConnectionString(connectionString, {
    onStream: (offer) => offer.reject('none'),
    outbound: hub.outbound,
    sshHostKeys,
  });
  devices.push(device);
  await device.open();
}

/** Returns the reachability as soon as it matches. Polls, because the hub registers host keys in the background after it has accepted the device. */
async function reachable(matches: (keys: readonly string[], others: boolean) => boolean, moduleId?: string) {
  for (;;) {
    const view = await service.devices.reachability('d', moduleId);
    if (matches(view.sshHostKeys, view.namesOtherHostKeys)) return view;
    await new Promise(setImmediate);
  }
}

it('the first host keys that a device names are registered, and only an administrator makes room for others', async () => {
  const connectionString = await hub.createDevice('d');
  expect(await service.devices.reachability('d')).toEqual({
    ...{ deviceId: 'd', moduleId: null, status: 'enabled', online: false },
    ...{ sshHostKeys: [], namesOtherHostKeys: false },
  });
  await attach(connectionString, [key(2), key(1), key(2), 'no key', '']);
  const both = [registered(1), registered(2)].sort();
  expect(await reachable((keys) => keys.length > 0)).toMatchObject({ online: true, sshHostKeys: both });
  const changed = await hub.event('registry-changed', ({ principal }) => principal === 'device:d');
  expect(changed).toMatchObject({ change: 'updated', deviceId: 'd' });
  expect(await hub.owner.devices.get('d')).toMatchObject({ sshHostKeys: both });

  const writes = () => hub.events.filter(({ type }) => type === 'registry-changed').length;
  const before = writes();
  await attach(connectionString, [key(3)]);
  expect(await reachable((_, others) => others)).toMatchObject({ sshHostKeys: both });
  expect(writes()).toBe(before);

  await hub.owner.devices.update({ deviceId: 'd', sshHostKeys: [] });
  expect((await hub.owner.devices.get('d')).sshHostKeys).toBeUndefined();
  await attach(connectionString, [key(3)]);
  expect((await reachable((keys) => keys.length > 0)).sshHostKeys).toEqual([registered(3)]);
});

it("a module has keys of its own; a policy's key registers none for anybody", async () => {
  await hub.createDevice('d');
  const { authentication } = await hub.owner.modules.create('d', 'm');
  const at = { host: '127.0.0.1', port: hub.port, deviceId: 'd' };
  await attach(formatDeviceConnectionString({ ...at, moduleId: 'm', key: authentication.symmetricKey.primaryKey }), [
    key(4),
  ]);
  expect((await reachable((keys) => keys.length > 0, 'm')).sshHostKeys).toEqual([registered(4)]);

  await attach(`${hub.ownerConnectionString};DeviceId=d`, [key(5)]);
  await hub.event('device-offers-changed', ({ moduleId }) => moduleId === undefined);
  expect((await service.devices.reachability('d')).sshHostKeys).toEqual([]);
});

it('is told to whoever may ask for streams, and to nobody else', async () => {
  await hub.createDevice('d');
  await expect(service.devices.reachability('nobody')).rejects.toMatchObject({ code: 'device_not_found' });
  await expect(service.devices.reachability('d', 'm')).rejects.toMatchObject({ code: 'module_not_found' });
  await hub.owner.devices.update({ deviceId: 'd', status: 'disabled' });
  expect(await service.devices.reachability('d')).toMatchObject({ status: 'disabled' });
  const other = ServiceClient.fromConnectionString(await hub.policy('monitor'), { outbound: hub.outbound });
  await expect(other.devices.reachability('d')).rejects.toMatchObject({ code: 'forbidden' });
  other.close();
});

it('what an administrator sets must be keys', async () => {
  await hub.createDevice('d');
  const set = (sshHostKeys: readonly string[]) => hub.owner.devices.update({ deviceId: 'd', sshHostKeys });
  await expect(set(['ssh-ed25519 AAAA'])).rejects.toMatchObject({ code: 'argument_invalid' });
  await expect(set(['* ssh-ed25519\nAAAA'])).rejects.toMatchObject({ code: 'argument_invalid' });
  expect((await set([key(1)])).sshHostKeys).toEqual([registered(1)]);
});
