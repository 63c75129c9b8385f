import { once } from 'node:events';
import { parseOfferTopic } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Cleanup } from './support/cleanup.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { connectMqttJs } from './support/mqtt-js.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';
import { type MqttCredentials, mqttCredentials, seconds } from './support/sas.ts';

const OFFERS = '$iothub/streams/POST/#';

const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { mqtt: true });
  owner = hub.owner(cleanup);
});
afterAll(() => cleanup.run());

async function newDevice(deviceId: string): Promise<MqttCredentials> {
  return mqttCredentials(await hub.createDevice(deviceId));
}

/** Returns the arguments with which Mosquitto's clients connect as this device. */
function mosquitto(version: 'mqttv311' | 'mqttv5', credentials: MqttCredentials): string[] {
  return [
    ...['-h', '127.0.0.1', '-p', String(hub.mqttPort), '--cafile', hub.caFile, '-V', version],
    ...['-i', credentials.deviceId, '-u', credentials.username, '-P', credentials.password],
  ];
}

/** Starts mosquitto_sub with a subscription to the offers, and waits until it is subscribed. */
async function subscriber(
  version: 'mqttv311' | 'mqttv5',
  credentials: MqttCredentials,
  ...more: string[]
): Promise<Program> {
  const args = [...mosquitto(version, credentials), '-d', '-t', OFFERS, '-t', '$iothub/streams/res/#', ...more];
  // mosquitto_sub buffers its output by blocks when it does not write to a terminal; stdbuf makes it buffer by lines.
  const program = new Program('stdbuf', ['-oL', 'mosquitto_sub', ...args], {
    env: cleanEnvironment({ HOME: hub.home }),
  });
  cleanup.defer(program, () => program.stop());
  await program.waitFor(/Subscribed/);
  return program;
}

describe.each([4, 5] as const)('MQTT.js as a device, protocol level %i', (protocolVersion) => {
  /** Attaches a client that answers each offer with `status`, and returns the list of offers it receives. */
  async function attach(deviceId: string, status: number, reason = ''): Promise<string[]> {
    const client = await connectMqttJs(cleanup, hub, await newDevice(deviceId), {
      protocolVersion,
      reconnectPeriod: 0,
    });
    const offers: string[] = [];
    client.on('message', (topic) => {
      offers.push(topic);
      const rid = parseOfferTopic(topic)?.requestId;
      client.publish(`$iothub/streams/res/${status}/?$rid=${rid}`, reason, { qos: 1 });
    });
    await client.subscribeAsync(OFFERS, { qos: 1 });
    return offers;
  }

  test('accepts, dials its grant with ws, and moves bytes', async () => {
    const offers = await attach(`js-${protocolVersion}`, 200);
    const opening = owner.openStream(`js-${protocolVersion}`, { name: 'greeting' });
    opening.catch(() => undefined);
    const offer = parseOfferTopic(await eventually('an offer', () => offers[0]));
    expect(offer?.streamName).toBe('greeting');
    const socket = new WebSocket(offer?.url ?? '', {
      ca: hub.ca,
      headers: { authorization: `Bearer ${offer?.token}` },
    });
    socket.on('message', (data) => socket.send(`heard ${data}`));
    const closed = once(socket, 'close');
    const stream = await opening;
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('heard hello');
    stream.end();
    expect((await closed)[0]).toBe(1000);
  });

  test('rejects with a reason that the service reads', async () => {
    await attach(`js-no-${protocolVersion}`, 400, 'not today');
    const opening = owner.openStream(`js-no-${protocolVersion}`, { name: 'greeting' });
    await expect(opening).rejects.toMatchObject({ code: 'rejected', message: expect.stringContaining('not today') });
  });
});

describe.each(['mqttv311', 'mqttv5'] as const)("Mosquitto's clients over TLS, %s", (version) => {
  test('receive an offer', async () => {
    const device = await newDevice(`mosquitto-${version}`);
    const sub = await subscriber(version, device, '-F', version === 'mqttv5' ? 'topic %t properties %P' : 'topic %t');
    const opening = owner.openStream(device.deviceId, {
      name: 'ssh',
      responseTimeoutMs: 60_000,
      signal: AbortSignal.timeout(20_000),
    });
    const failed = expect(opening).rejects.toThrow();
    const [, topic = ''] = await sub.waitFor(/^topic (\S+)/m);
    const offer = parseOfferTopic(topic);
    expect(offer).toMatchObject({
      streamName: 'ssh',
      url: expect.stringMatching(`^wss://127.0.0.1:${hub.port}/bridges/`),
    });
    if (version === 'mqttv5') expect(sub.stdout).toMatch(/culvert-caller:policy:iothubowner/);
    await sub.stop();
    await failed;
  });

  test('a newer connection of the same device takes over, and an offer the older had not answered is gone', async () => {
    const device = await newDevice(`takeover-${version}`);
    const older = await subscriber(version, device, '-F', 'topic %t');
    const opening = owner.openStream(device.deviceId, { name: 'ssh' });
    const failed = expect(opening).rejects.toMatchObject({ code: 'device_gone' });
    const [, topic = ''] = await older.waitFor(/^topic (\S+)/m);
    older.signal('SIGSTOP'); // so that it cannot reconnect and displace the newer connection
    const answer = `$iothub/streams/res/400/?$rid=${parseOfferTopic(topic)?.requestId}`;
    const args = [...mosquitto(version, device), '-q', '1', '-t', answer, '-m', 'too late'];
    const publisher = await run('mosquitto_pub', args, { env: cleanEnvironment({ HOME: hub.home }) });
    expect(publisher, publisher.stderr).toMatchObject({ code: 0 });
    await failed;
    older.signal('SIGCONT');
    // The output of the older client when it is disconnected: MQTT 5 reports the reason, MQTT 3.1.1 only closes the connection.
    if (version === 'mqttv5') await older.waitFor(/received DISCONNECT \(142\)/i);
    else await older.waitFor(/sending CONNECT[\s\S]*sending CONNECT/);
    await older.stop();
  });

  test('a wrong password is refused in words', async () => {
    const device = await newDevice(`wrong-${version}`);
    const other = await newDevice(`other-${version}`);
    const expired = await mqttCredentials(await hub.createDevice(`expired-${version}`), seconds(-3600));
    for (const credentials of [{ ...device, password: other.password }, { ...device, password: 'guess' }, expired]) {
      const args = [...mosquitto(version, credentials), '-t', OFFERS];
      const { code, stderr } = await run('mosquitto_sub', args, { env: cleanEnvironment({ HOME: hub.home }) });
      expect(stderr).toMatch(/not authori[sz]ed/i);
      expect(code).toBe(version === 'mqttv5' ? 135 : 5);
    }
  });
});

test('mosquitto_sub does not accept a hub whose certificate it cannot trace', async () => {
  const device = await newDevice('suspicious');
  const args = mosquitto('mqttv311', device).map((part) =>
    part === hub.caFile ? '/etc/ssl/certs/ca-certificates.crt' : part,
  );
  const { code, stderr } = await run('mosquitto_sub', [...args, '-t', OFFERS], {
    env: cleanEnvironment({ HOME: hub.home }),
  });
  expect(stderr).toMatch(/certificate verify failed|TLS/i);
  expect(code).not.toBe(0);
});
