import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../../fuzz/prng.ts';
import { Cleanup } from '../support/cleanup.ts';
import { eventually } from '../support/eventually.ts';
import {
  frameInputs,
  type ListenerName,
  type Malformed,
  mqttInputs,
  restInputs,
  storm,
  tcpInputs,
  tcpListener,
  tlsInputs,
  tlsListener,
  upgradeInputs,
} from '../support/hostile.ts';
import { HubProcess } from '../support/hub-process.ts';
import { seconds } from '../support/sas.ts';

const MEBIBYTE = 1024 * 1024;
const STREAMS = 500;
/** Number of streams opened at the same time: each needs three connections, and an address may have 512 unauthenticated ones. */
const MAX_CONCURRENT = 100;
const DEVICES = 10;

const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { mqtt: true, inspect: true });
  owner = hub.owner(cleanup);
});
afterAll(() => cleanup.run());

/** Starts a device with the device SDK. */
async function device(deviceId: string, onStream: (offer: StreamOffer) => Promise<void>): Promise<void> {
  const connectionString = await owner.devices
    .create(deviceId)
    .then(
      ({ authentication: { symmetricKey } }) =>
        `HostName=${hub.hostName};DeviceId=${deviceId};SharedAccessKey=${symmetricKey.primaryKey}`,
    );
  const client = DeviceClient.fromConnectionString(connectionString, { onStream, outbound: { ca: hub.ca } });
  cleanup.defer(client, () => client.close());
  await client.open();
}

async function echo(offer: StreamOffer): Promise<void> {
  const stream = await offer.accept();
  stream.on('error', () => undefined).pipe(stream);
}

/** Opens a stream and returns its two ends: at the device and at the service. */
async function bothEnds(deviceId: string): Promise<[Duplex, Duplex]> {
  let arrive: (stream: Duplex) => void = () => undefined;
  const atDevice = new Promise<Duplex>((resolve) => {
    arrive = resolve;
  });
  await device(deviceId, async (offer) => arrive(await offer.accept()));
  const atService = await owner.openStream(deviceId, { name: 'bulk' });
  return [await atDevice, atService];
}

/** Reads exactly `length` bytes. */
async function read(stream: Duplex, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let received = 0;
  while (received < length) {
    const part = stream.read() as Buffer | null;
    if (part === null) {
      await once(stream, 'readable');
      continue;
    }
    parts.push(part);
    received += part.length;
  }
  return Buffer.concat(parts);
}

test(`${STREAMS} streams open at once, each with its own bytes`, async () => {
  await Promise.all(Array.from({ length: DEVICES }, (_, index) => device(`fleet${index}`, echo)));
  const streams: Duplex[] = [];
  while (streams.length < STREAMS) {
    const next = Array.from({ length: MAX_CONCURRENT }, (_, index) =>
      owner.openStream(`fleet${(streams.length + index) % DEVICES}`, { name: 'echo' }),
    );
    streams.push(...(await Promise.all(next)));
  }
  // All streams are open now; only then is the first byte sent, and no stream ends before the last one has answered.
  const sent = streams.map(() => randomBytes(4_096));
  const received = await Promise.all(
    streams.map((stream, index) => {
      stream.write(sent[index]);
      return read(stream, 4_096);
    }),
  );
  expect(streams.filter((stream) => stream.destroyed)).toHaveLength(0);
  for (const [index, data] of received.entries()) expect(data.equals(sent[index] as Buffer)).toBe(true);
  await Promise.all(
    streams.map((stream) => {
      const closed = once(stream, 'close');
      stream.resume().end();
      return closed;
    }),
  );
});

describe.each(['device', 'service'] as const)('a %s that sends against a reader that stops', (sender) => {
  const LENGTH = 256 * MEBIBYTE;
  /**
   * Maximum growth of the hub's memory, in bytes, while the stream is stopped:
   * the buffers of two sockets and one chunk, with a margin for the garbage collector.
   */
  const BOUND = 32 * MEBIBYTE;
  /** Milliseconds without progress after which the sender counts as stopped. */
  const STILL_MS = 2_000;

  test('is stopped too, the hub holds nearly nothing, and every byte arrives when reading goes on', async () => {
    const deviceId = `slow-${sender}`;
    const [atDevice, atService] = await bothEnds(deviceId);
    const [writer, reader] = sender === 'device' ? [atDevice, atService] : [atService, atDevice];

    const before = hub.residentBytes();
    const pattern = randomBytes(MEBIBYTE);
    const sent = createHash('sha256');
    let passedOn = 0;
    const sending = (async () => {
      for (let length = 0; length < LENGTH; length += pattern.length) {
        sent.update(pattern);
        await new Promise<void>((resolve, reject) =>
          writer.write(pattern, (error) => (error ? reject(error) : resolve())),
        );
        passedOn += pattern.length;
      }
    })();
    let [highest, seen, since] = [0, -1, Date.now()];
    while (Date.now() - since < STILL_MS) {
      highest = Math.max(highest, hub.residentBytes());
      if (passedOn !== seen) [seen, since] = [passedOn, Date.now()];
      await sleep(50);
    }
    expect(passedOn).toBeLessThan(LENGTH / 4);
    expect(highest - before).toBeLessThan(BOUND);

    const received = createHash('sha256');
    let length = 0;
    reader.on('data', (part: Buffer) => {
      received.update(part);
      length += part.length;
    });
    await sending;
    await eventually('all bytes', () => length === LENGTH, 60_000);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    expect(hub.residentBytes() - before).toBeLessThan(4 * BOUND);
    const closed = once(reader, 'close');
    writer.end();
    reader.end();
    await closed;
  });
});

describe('malformed input', () => {
  const COUNT = 10_000;
  /** Inputs sent before the first memory measurement: code is compiled and tables reach their size only once. */
  const WARM_UP = 5_000;
  /** Maximum growth of the heap, in bytes, after 60,000 inputs: 35 bytes for each. */
  const HEAP_BOUND = 2 * MEBIBYTE;
  /** Maximum growth of the resident memory, in bytes: 1 KiB per input would be a leak outside the heap; allocators keep some memory for later use. */
  const RESIDENT_BOUND = 60 * MEBIBYTE;
  const SEED = 20_261_123;

  async function listeners(): Promise<Record<string, [ListenerName, Malformed]>> {
    const { policy, key } = parseServiceConnectionString(hub.policy('iothubowner'));
    const token = await signSasToken({ audience: hub.hostName, key, policy, expiry: seconds(3600) });
    const main = tlsListener(hub.port, hub.ca);
    const bridge = (random: Prng) =>
      `/bridges/${random.pick([random.text(32, '0123456789abcdef'), random.text(40), '..', ''])}/${random.pick(['device', 'service', 'both'])}`;
    return {
      REST: [main, restInputs(token)],
      'MQTT over TLS': [tlsListener(hub.mqttPort ?? 0, hub.ca), mqttInputs],
      'MQTT over WebSocket': [
        main,
        upgradeInputs((random) => random.pick(['/$iothub/websocket', '/$iothub/websocket/x']), frameInputs),
      ],
      gateway: [main, upgradeInputs(bridge, frameInputs)],
      TLS: [tcpListener(hub.port), tlsInputs],
      TCP: [tcpListener(hub.mqttPort ?? 0), tcpInputs],
    };
  }

  const openFiles = () => readdirSync(`/proc/${hub.program.pid}/fd`).length;

  test(`${COUNT} on every listener leave the hub alive and its memory where it was`, async () => {
    await device('bystander', echo);
    const bystander = await owner.openStream('bystander', { name: 'echo' });
    bystander.on('error', () => undefined); // the assertions below check that it is still alive
    const filesBefore = openFiles();
    const random = new Prng(SEED);
    const all = await listeners();
    const stormy = (name: string, count: number) => {
      const [listener, malformed] = all[name] as [ListenerName, Malformed];
      return storm(listener, malformed, random, count).catch((error: unknown) => {
        throw new Error(`${name}, seed ${SEED}`, { cause: error });
      });
    };
    for (const name of Object.keys(all)) await stormy(name, WARM_UP);
    await eventually('no connection to be left', () => openFiles() <= filesBefore);
    const before = { heap: await hub.heapBytes(), resident: hub.residentBytes() };

    for (const name of Object.keys(all)) {
      const started = Date.now();
      await stormy(name, COUNT);
      console.log(`${name}: ${COUNT} in ${Date.now() - started} ms, ${Math.round(hub.residentBytes() / MEBIBYTE)} MiB`);
      expect(hub.program.running, name).toBe(true);
    }

    // Checks the stream that was open throughout, a new stream, and the registry.
    bystander.write('still here');
    expect((await read(bystander, 10)).toString()).toBe('still here');
    const fresh = await owner.openStream('bystander', { name: 'echo' });
    fresh.end('and open for others');
    expect(Buffer.concat(await fresh.toArray()).toString()).toBe('and open for others');
    await eventually('no connection to be left', () => openFiles() <= filesBefore);
    const after = { heap: await hub.heapBytes(), resident: hub.residentBytes() };
    console.log('before', before, 'after', after);
    expect(after.heap - before.heap).toBeLessThan(HEAP_BOUND);
    expect(after.resident - before.resident).toBeLessThan(RESIDENT_BOUND);
  }, 600_000);
});
