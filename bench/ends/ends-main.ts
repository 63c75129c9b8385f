import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString, parseServiceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { percentile } from '../statistics.ts';
import { matchesPattern, patternAt } from '../traffic/pattern.ts';
import { encodeRequest, UPLOAD_OFFSET } from '../traffic/request.ts';
import { serveRequests } from '../traffic/target.ts';

/**
 * Runs a device and a service in one process: `DATA_DIRECTORY DEVICE_ID`. Prints `attached`, reads `1 open COUNT AT_ONCE`, `2 pour BYTES` and so on from
 * standard input, and answers each request with `done`, its number and the measured values as JSON, or with `failed`, its number and the reason.
 */
const [directory = '', deviceId = ''] = process.argv.slice(2);
const ECHO_BYTES = 16;

const outbound = { ca: readFileSync(join(directory, 'ca.pem'), 'utf8'), proxy: false } as const;
const owner = readFileSync(join(directory, 'policies/iothubowner'), 'utf8').trim();
const { host, port } = parseServiceConnectionString(owner);
const service = ServiceClient.fromConnectionString(owner, { outbound });
const { authentication } = await service.devices.create(deviceId);
const key = authentication.symmetricKey.primaryKey;
const device = DeviceClient.fromConnectionString(formatDeviceConnectionString({ host, port, deviceId, key }), {
  outbound,
  onStream: async (offer) => {
    const stream = await offer.accept();
    stream.on('error', () => stream.destroy());
    serveRequests(stream);
    stream.once('end', () => stream.end());
  },
});
await device.open();
process.stdout.write('attached\n');

/** Opens a stream and sends a few bytes, which the device echoes; resolves with the milliseconds until they are back. @throws Error when the echo differs */
async function openAndClose(): Promise<number> {
  const from = performance.now();
  const stream = await service.openStream(deviceId, { name: 'bench', raw: true });
  stream.write(Buffer.concat([encodeRequest('E', ECHO_BYTES), patternAt(0, ECHO_BYTES)]));
  const [answer] = (await once(stream, 'data')) as [Buffer];
  const elapsed = performance.now() - from;
  if (answer.length !== ECHO_BYTES || !matchesPattern(answer, 0))
    throw new Error('the echoed bytes differ from those sent');
  stream.resume().end();
  await once(stream, 'close');
  return elapsed;
}

async function open(count: number, atOnce: number): Promise<object> {
  const times: number[] = [];
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) times.push(await openAndClose());
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { p50: percentile(times, 50), p99: percentile(times, 99), 'p99.9': percentile(times, 99.9) };
}

/** Sends bytes on one stream; the device compares them. */
async function pour(bytes: number): Promise<object> {
  const stream = await service.openStream(deviceId, { name: 'bench', raw: true });
  const answered = once(stream, 'data');
  stream.write(encodeRequest('U', bytes));
  for (let sent = 0; sent < bytes; ) {
    const piece = patternAt(UPLOAD_OFFSET + sent, bytes - sent);
    sent += piece.length;
    if (!stream.write(piece)) await once(stream, 'drain');
  }
  const [answer] = (await answered) as [Buffer];
  if (answer.length !== 1 || answer[0] !== 1) throw new Error('the device reports that the received bytes are wrong');
  stream.resume().end();
  await once(stream, 'close');
  return {};
}

for await (const line of createInterface({ input: process.stdin })) {
  const [number, verb, first, second] = line.split(' ');
  const work = verb === 'open' ? open(Number(first), Number(second)) : pour(Number(first));
  const answer = await work.then(
    (measured) => `done ${number} ${JSON.stringify(measured)}`,
    (error: unknown) => `failed ${number} ${error instanceof Error ? error.message : String(error)}`,
  );
  process.stdout.write(`${answer}\n`);
}
