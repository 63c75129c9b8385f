import { createServer } from 'node:net';
import { DeviceClient } from '@culvert/device';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand } from './support/culvert.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, run } from './support/program.ts';
import { startAgent } from './support/proxies.ts';

// The ends of the release before sessions, as the hub and the other end see them: a device that announces no sessions, and a client that asks for none.

const cleanup = new Cleanup();
let hub: HubProcess;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
  env = cleanEnvironment(hub.serviceEnv());
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  await startAgent(cleanup, hub, 'new-agent', [`echo=127.0.0.1:${await listenLocally(cleanup, server)}`]);
  const device = DeviceClient.fromConnectionString(await hub.createDevice('old-device'), {
    session: false,
    outbound: { ca: hub.ca },
    onStream: async (offer) => {
      const stream = await offer.accept();
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  cleanup.defer(device, () => device.close());
  await device.open();
});
afterAll(() => cleanup.run());

/** Sends a text through `culvert connect --stdio`, and returns what came back and what its user was told. */
function echo(...args: string[]) {
  const [command, all] = culvertCommand('connect', '--stdio', ...args, 'echo');
  return run(command, all, { env, input: 'there and back' });
}

test('an old device gets raw streams, and the user is told that they are not encrypted', async () => {
  const { code, stdout, stderr } = await echo('old-device');
  expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: 'there and back' });
  expect(stderr.match(/warning: .*raw stream.*the hub can read and change what is sent/g), stderr).toHaveLength(1);
});

test('an old client gets raw streams from a new agent', async () => {
  const { code, stdout, stderr } = await echo('--raw', 'new-agent');
  expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: 'there and back' });
});

test('new with new is encrypted, and a raw stream to a device whose key is known is refused from then on', async () => {
  const first = await echo('new-agent');
  expect(first, first.stderr).toMatchObject({ code: 0, stdout: 'there and back' });
  expect(first.stderr).toMatch(/the key of new-agent, seen for the first time, is SHA256:/);
  const raw = await echo('--raw', 'new-agent');
  expect(raw, raw.stderr).toMatchObject({ stdout: '' });
  expect(raw.code).not.toBe(0);
});
