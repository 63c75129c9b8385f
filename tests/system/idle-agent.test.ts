import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { FieldHub } from './support/field-hub.ts';
import { FieldNetwork, type Place } from './support/field-network.ts';
import { must } from './support/program.ts';

/** Milliseconds of the idle time that is counted: two pings. */
const COUNTED_MS = 60_000;

const cleanup = new Cleanup();
let device: Place;
let service: Place;
let hub: FieldHub;

beforeAll(async () => {
  const network = await FieldNetwork.create(cleanup);
  [device, service] = [await network.place(), await network.place()];
  hub = await FieldHub.start(cleanup, await network.place());
  await hub.agent(device, 'field', ['web=127.0.0.1:7001']);
}, 120_000);
afterAll(() => cleanup.run());

/** Seconds until the next keepalive probe of each TCP connection to the hub, at a place. A connection with unacknowledged data has none. */
async function keepaliveTimers(place: Place): Promise<number[]> {
  const text = await must('ip', [...place.prefix.slice(1), 'ss', '-Htno', 'state', 'established']);
  return [...text.matchAll(/timer:\(keepalive,(?:(\d+)min)?(?:(\d+(?:\.\d+)?)sec)?(?:(\d+)ms)?,\d+\)/g)].map(
    ([, minutes = '0', seconds = '0']) => Number(minutes) * 60 + Number(seconds),
  );
}

test('an idle agent causes fewer than ten packets a minute, and is known to be there', async () => {
  // What came with attaching is not idle: the last of it is acknowledged within a second.
  await sleep(5_000);
  const before = await device.packets();
  const timers = await keepaliveTimers(device);
  expect(timers).toHaveLength(1);
  await sleep(COUNTED_MS);
  const counted = (await device.packets()) - before;
  // It is not silent either: its pings are what presence is made of.
  expect(counted).toBeGreaterThan(4);
  expect(counted / (COUNTED_MS / 60_000)).toBeLessThan(10);
  const presence = await hub.culvert('device', 'show', '--output', 'json', '--', 'field');
  expect(JSON.parse(presence)).toMatchObject({ connectionState: 'Connected' });
  // The kernel, left alone, would ask after one second.
  expect(Math.max(...timers)).toBeGreaterThan(60);
}, 240_000);

test('no connection of agent, connect and hub asks the kernel to probe within a minute', async () => {
  await hub.connect(service, 'field', ['culvert-echo=7101']);
  const held =
    "const s = require('node:net').connect(7101, '127.0.0.1'); s.write('x'); s.once('data', () => console.log('open'));";
  const program = hub.start(service, [process.execPath, '-e', held]);
  await program.waitFor(/open/);
  // The device has its control channel and the stream, the service has the stream, and the hub has both ends of the stream: it asks no
  // probes for the control channel, whose pings have a deadline, nor for requests, which have a timeout.
  for (const [place, connections] of [
    [device, 2],
    [service, 1],
    [hub.place, 2],
  ] as const) {
    // While data is not acknowledged, the kernel shows the timer of the retransmission instead.
    await expect
      .poll(() => keepaliveTimers(place), { timeout: 30_000 })
      .toSatisfy((seconds: number[]) => {
        return seconds.length >= connections && Math.min(...seconds) > 30;
      });
  }
}, 120_000);
