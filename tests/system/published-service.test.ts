import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { overTls } from './support/azure/byte-link.ts';
import { parseConnectionString } from './support/azure/credentials.ts';
import { AzureDevice } from './support/azure/device.ts';
import { deviceC } from './support/azure/device-c.ts';
import { cOverMqtt } from './support/azure/mqtt-control-channel.ts';
import { Cleanup } from './support/cleanup.ts';
import { ClientProgram, startClient } from './support/client-program.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { startAgent } from './support/proxies.ts';

const PAYLOAD_BYTES = 300_000;

const cleanup = new Cleanup();
let hub: HubProcess;
let echo: number;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { knownPorts: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  echo = await listenLocally(cleanup, server);
});
afterAll(() => cleanup.run());

/** Starts Azure's proxy quickstart for services and returns the port it listens on. */
async function startAzureProxy(deviceId: string): Promise<{ port: number; stderr: () => string }> {
  const env = { CONNECTION_STRING: hub.policy('service'), DEVICE_ID: deviceId };
  const program = startClient(cleanup, hub, 'azure-proxy.mjs', env);
  const [, port] = await program.waitFor(/port (\d+)/);
  return { port: Number(port), stderr: () => program.stderr };
}

/** Sends bytes through the proxy at once, before a stream is established, and returns the bytes that come back. */
async function echoed(port: number, payload: Buffer): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(payload);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    parts.push(chunk);
    bytes += chunk.length;
    if (bytes === payload.length) socket.end();
  }
  return Buffer.concat(parts);
}

test.each(['culvert agent --default-service', 'the C device'])(
  "Azure's proxy on websocket-stream, with %s: several connections at once, byte for byte",
  async (kind) => {
    const deviceId = kind.replaceAll(/[^A-Za-z-]/g, '');
    if (kind === 'the C device') {
      const device = parseConnectionString(await hub.createDevice(deviceId));
      const open = cOverMqtt({ hub, device, link: overTls(8883) });
      await AzureDevice.start(cleanup, hub, { open, variant: deviceC('MQTT'), target: echo });
    } else {
      await startAgent(cleanup, hub, deviceId, [`echo=127.0.0.1:${echo}`], { args: ['--default-service', 'echo'] });
    }
    const proxy = await startAzureProxy(deviceId);
    const payloads = [1, 2, 3].map(() => randomBytes(PAYLOAD_BYTES));
    const answers = await Promise.all(payloads.map((payload) => echoed(proxy.port, payload)));
    expect(answers.map((answer, index) => payloads[index]?.equals(answer))).toEqual([true, true, true]);
    expect(proxy.stderr()).toBe('');
  },
);

describe.each(['Amqp', 'AmqpWs'])('the service client of azure-iothub over %s', (TRANSPORT) => {
  const startService = (policy: string) =>
    ClientProgram.start(cleanup, hub, 'service.mjs', { TRANSPORT, CONNECTION_STRING: hub.policy(policy) });

  test('opens with a policy that may open streams, and is told that messages are not supported', async () => {
    const client = await startService('service');
    expect(await client.ask('open')).toMatchObject({ value: 'open' });
    expect(await client.ask('send', 'd')).toMatchObject({ value: 'NotImplementedError' });
    expect(await client.ask('close')).toMatchObject({ value: 'closed' });
  });

  test('does not open with one that may not', async () => {
    const client = await startService('registryRead');
    expect(await client.ask('open')).toMatchObject({ error: { message: 'AMQP Transport: Could not connect' } });
  });
});
