import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { echoOffer } from '@culvert/testkit';
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { freePort } from './support/free-port.ts';
import { nodeFromNpm } from './support/node-from-npm.ts';
import { cleanEnvironment, Program } from './support/program.ts';
import { scratch } from './support/scratch.ts';

const COMMAND = resolve(import.meta.dirname, '../../packages/cli/bin/culvert.js');

/** KiB of address space: enough for Node 22 and a gateway with two threads, too little for one WebAssembly memory, which reserves 10 GiB. */
const ADDRESS_SPACE_KIB = 9_000_000;

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Line {
  readonly msg: string;
  readonly problem?: string;
}

/** Starts a hub on Node 22 with little address space, opens a stream through it, and returns the hub's log entries. */
async function logOfOneStream(...flags: string[]): Promise<Line[]> {
  const node = await nodeFromNpm(cleanup, '22');
  const home = scratch(cleanup);
  const dataDir = join(home, 'hub');
  const [port, admin, gateway] = await Promise.all([freePort(), freePort(), freePort()]);
  const args = [
    ...['hub', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`, '--admin-listen', `127.0.0.1:${admin}`],
    ...['--gateway-threads', '2', '--gateway-listen', `127.0.0.1:${gateway}`, '--log-format', 'json', ...flags],
  ];
  const script = `ulimit -v ${ADDRESS_SPACE_KIB}; exec "$@"`;
  const hub = new Program('/bin/sh', ['-c', script, 'sh', node, COMMAND, ...args], {
    env: cleanEnvironment({ HOME: home }),
  });
  cleanup.defer(hub, () => hub.stop());
  await hub.waitFor(/"msg":"hub-started"/);
  const outbound = { ca: readFileSync(join(dataDir, 'ca.pem'), 'utf8') };
  const policy = readFileSync(join(dataDir, 'policies/iothubowner'), 'utf8').trim();
  const owner = cleanup.defer(ServiceClient.fromConnectionString(policy, { outbound }), (client) => client.close());
  const { authentication } = await owner.devices.create('d');
  const key = authentication.symmetricKey.primaryKey;
  const connectionString = formatDeviceConnectionString({ host: '127.0.0.1', port, deviceId: 'd', key });
  const device = DeviceClient.fromConnectionString(connectionString, { onStream: echoOffer, outbound });
  cleanup.defer(device, () => device.close());
  await device.open();
  const sent = randomBytes(1_000_000);
  const stream = await owner.openStream('d', { name: 'x' });
  stream.end(sent);
  expect((await buffer(stream)).equals(sent)).toBe(true);
  await hub.stop();
  const lines = `${hub.stdout}${hub.stderr}`.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as Line);
}

const without = (lines: readonly Line[]) => lines.filter(({ msg }) => msg === 'gateway-without-webassembly');

test('where address space is limited streams are relayed without WebAssembly, and the log says so once', async () => {
  expect(without(await logOfOneStream())).toEqual([
    expect.objectContaining({ level: 40, problem: 'WebAssembly.Memory(): could not allocate memory' }),
  ]);
});

test('who wants it so is told nothing', async () => {
  expect(without(await logOfOneStream('--no-gateway-webassembly'))).toEqual([]);
});
