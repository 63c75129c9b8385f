import { newStreamId } from '@culvert/protocol';
import { startGateway, startWsRelay, type TestGateway, testCertificate, type WsRelay } from '@culvert/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { BufferPool } from './buffer-pool.ts';

let fast: TestGateway;
let plain: TestGateway;
let divided: TestGateway;
let reference: WsRelay;
let referenceCa: string;

beforeAll(async () => {
  fast = await startGateway();
  plain = await startGateway({ plain: true });
  divided = await startGateway({ threads: 'divided' });
  const certificate = await testCertificate();
  referenceCa = certificate.ca;
  reference = await startWsRelay(certificate);
});
afterAll(async () => {
  await fast.stop();
  await plain.stop();
  await divided.stop();
  await reference.stop();
});

/** One call of `send`: a whole message, or a fragment of one. */
interface Send {
  readonly size: number;
  readonly fill: number;
  readonly text: boolean;
  readonly fragments: number;
  readonly ping: boolean;
}

interface Received {
  readonly binary: boolean;
  readonly bytes: Buffer;
}

const sends = fc.array(
  fc.record<Send>({
    size: fc.oneof(fc.nat(200), fc.nat(20_000), fc.constantFrom(65_535, 65_536, 65_537, 200_000)),
    fill: fc.integer({ min: 32, max: 126 }),
    text: fc.boolean(),
    fragments: fc.integer({ min: 1, max: 4 }),
    ping: fc.boolean(),
  }),
  { maxLength: 25 },
);

test('any messages, both ways at once: what the ws-library relay delivers, the gateway delivers', async () => {
  await fc.assert(
    fc.asyncProperty(sends, sends, fc.integer({ min: 1_000, max: 4_999 }), async (down, up, seed) => {
      const code = 3_000 + (seed % 1_999);
      const streamId = newStreamId();
      const through = await Promise.all([
        throughGateway(fast, streamId, down, up, code),
        throughGateway(plain, streamId, down, up, code),
        throughGateway(divided, streamId, down, up, code),
        throughReference(streamId, down, up, code),
      ]);
      const [ours, plainOurs, dividedOurs, theirs] = through;
      expect(plainOurs).toEqual(ours);
      expect(dividedOurs).toEqual(ours);
      for (const way of ['atDevice', 'atService'] as const) {
        expect(ours[way].length).toBe(theirs[way].length);
        ours[way].forEach((message, i) => {
          expect(message.binary).toBe(theirs[way][i]?.binary);
          expect(message.bytes.equals(theirs[way][i]?.bytes ?? Buffer.alloc(0))).toBe(true);
        });
      }
      expect(ours.code).toBe(theirs.code);
      await fast.event('stream-closed', streamId);
      await plain.event('stream-closed', streamId);
      await divided.event('stream-closed', streamId);
    }),
    { numRuns: 30, seed: 7 },
  );
  for (const { gateway } of [fast, plain, divided])
    expect([gateway.waitingConnections, gateway.streams]).toEqual([0, 0]);
  expect(BufferPool.ofThread?.taken).toBe(0);
});

async function throughGateway(
  bench: TestGateway,
  streamId: string,
  down: readonly Send[],
  up: readonly Send[],
  code: number,
) {
  const [device, service] = await Promise.all(
    (['device', 'service'] as const).map(async (side) => {
      const { url, token } = await bench.grant(streamId, side);
      return new WebSocket(url, { ca: bench.ca, headers: { Authorization: `Bearer ${token}` }, ...mask });
    }),
  );
  return exchange(device as WebSocket, service as WebSocket, down, up, code);
}

function throughReference(streamId: string, down: readonly Send[], up: readonly Send[], code: number) {
  const client = () => new WebSocket(`${reference.url}/${streamId}`, { ca: referenceCa, ...mask });
  return exchange(client(), client(), down, up, code);
}

/** Half of the frames get a zero masking key, which takes another way through the relay. */
let zero = false;
const mask = {
  generateMask(key: Buffer): void {
    zero = !zero;
    key.fill(zero ? 0 : 0x5a);
    if (!zero) key[1] = 0xc3;
  },
};

async function exchange(
  device: WebSocket,
  service: WebSocket,
  down: readonly Send[],
  up: readonly Send[],
  code: number,
) {
  const atDevice = collect(device);
  const atService = collect(service);
  await Promise.all([device, service].map((socket) => new Promise((resolve) => socket.once('open', resolve))));
  sendAll(service, down);
  sendAll(device, up);
  await Promise.all([atDevice.count(down.length), atService.count(up.length)]);
  const closed = new Promise<number>((resolve) => device.once('close', resolve));
  const gone = new Promise((resolve) => service.once('close', resolve));
  service.close(code, 'over');
  const result = { atDevice: atDevice.messages, atService: atService.messages, code: await closed };
  await gone;
  return result;
}

function sendAll(socket: WebSocket, all: readonly Send[]): void {
  for (const { size, fill, text, fragments, ping } of all) {
    const bytes = Buffer.alloc(size, fill);
    const step = Math.ceil(size / fragments);
    for (let i = 0; i < fragments; i++) {
      if (ping) socket.ping('between');
      socket.send(bytes.subarray(i * step, (i + 1) * step), { binary: !text, fin: i === fragments - 1 });
    }
  }
}

function collect(socket: WebSocket) {
  const messages: Received[] = [];
  let wake: () => void = () => undefined;
  socket.on('error', () => undefined);
  socket.on('message', (data: Buffer, binary) => {
    messages.push({ binary, bytes: Buffer.from(data) });
    wake();
  });
  return {
    messages,
    async count(expected: number): Promise<void> {
      while (messages.length < expected) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}
