import { newStreamId } from '@culvert/protocol';
import { RawWebSocket, rawClose, rawFrame, startGateway, type TestGateway } from '@culvert/testkit';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

/** Milliseconds until a grant of these streams expires. */
const GRANT_MS = 700;

/**
 * Sends valid and invalid frames to the gateway, split anywhere. For every input, the gateway must survive, a client that violated the protocol must
 * lose its connection, and no state of the stream may remain.
 * @param plain the gateway's option of that name
 */
export async function fuzzGatewayFrames(seed: number, runs: number, plain = false): Promise<void> {
  const bench = await startGateway({ limits: { lingerMs: 200, halfCloseMs: 200 }, plain });
  const random = new Prng(seed);
  const inputs = await corpus('gateway', 'frames-');
  try {
    for (let run = 0; run < runs; run++) {
      const one = random.fork();
      await fuzzStream(bench, one, inputs[run] ?? input(one), `seed ${seed}, run ${run}`);
    }
    await checkAlive(bench);
  } finally {
    await bench.stop();
  }
}

async function fuzzStream(bench: TestGateway, random: Prng, bytes: Buffer, name: string): Promise<void> {
  const streamId = newStreamId();
  // A waiting connection that fills its 64 KiB is paused, and its disconnect is noticed only when its grant expires: make that soon.
  const grant = await bench.grant(streamId, 'device', { expiresAt: Date.now() + GRANT_MS });
  const attacker = await RawWebSocket.open(grant, {
    ca: bench.ca,
    ...(random.chance(0.5) ? { early: bytes } : {}),
  });
  // On a busy machine the grant may have expired before the upgrade: there is no stream to test.
  if (!attacker.head.startsWith('HTTP/1.1 101 ')) return attacker.closed;
  const peer = random.chance(0.8)
    ? await RawWebSocket.open(await bench.grant(streamId, 'service'), { ca: bench.ca })
    : undefined;
  for (let at = 0; at < bytes.length; ) {
    const size = random.chance(0.2) ? 1 : random.integer(1, 20_000);
    attacker.send(bytes.subarray(at, at + size));
    at += size;
    if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
  }
  const end = random.integer(0, 2);
  if (end === 0) attacker.send(rawClose(1000));
  else if (end === 1) attacker.socket.end();
  else attacker.socket.destroy();
  const closed = bench.event('stream-closed', streamId);
  // After an incomplete long frame, the gateway takes the close frame for payload: then only the end of the connection ends the stream.
  const timeout = setTimeout(() => attacker.socket.destroy(), 50);
  await closed;
  clearTimeout(timeout);
  await attacker.closed;
  await peer?.closed;
  if (bench.gateway.waitingConnections + bench.gateway.streams !== 0)
    throw new Error(`${name}: a waiting connection or a stream remains.`);
}

/** A sequence of frames, some of them invalid. */
function input(random: Prng): Buffer {
  const parts: Buffer[] = [];
  for (let i = random.integer(1, 12); i > 0; i--)
    parts.push(random.chance(0.7) ? validFrame(random) : brokenFrame(random));
  const bytes = Buffer.concat(parts);
  if (random.chance(0.3)) bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
  return random.chance(0.2) ? bytes.subarray(0, random.integer(0, bytes.length)) : bytes;
}

function validFrame(random: Prng): Buffer {
  const size = random.pick([0, 1, 125, 126, 1_000, 65_535, 65_536, 65_537, 100_000]);
  const mask = random.chance(0.3) ? Buffer.alloc(4) : random.bytes(4);
  switch (random.integer(0, 5)) {
    case 0:
      return rawFrame(9, random.bytes(random.integer(0, 125)), { mask });
    case 1:
      return rawFrame(10, random.bytes(random.integer(0, 125)), { mask });
    case 2:
      return Buffer.concat([
        rawFrame(2, random.bytes(size & 1_023), { mask, fin: false }),
        rawFrame(9, 'between'),
        rawFrame(0, random.bytes(10), { mask }),
      ]);
    default:
      return rawFrame(random.pick([1, 2]), random.bytes(size), { mask });
  }
}

function brokenFrame(random: Prng): Buffer {
  switch (random.integer(0, 7)) {
    case 0:
      return random.bytes(random.integer(1, 300));
    case 1:
      return rawFrame(random.integer(0, 15), random.bytes(random.integer(0, 200)), { fin: random.chance(0.5) });
    case 2:
      return rawFrame(2, 'unmasked', { mask: null });
    case 3:
      return rawFrame(2, 'reserved', { rsv: random.pick([0x10, 0x20, 0x40, 0x70]) });
    case 4:
      return rawFrame(2, random.bytes(100), { declare: random.pick([2 ** 30, 2 ** 40, 2 ** 52, 101, 70_000]) });
    case 5:
      return rawClose(random.integer(0, 65_535), random.text(random.integer(0, 123)));
    case 6:
      return rawFrame(8, random.bytes(random.integer(0, 125)));
    default:
      return rawFrame(2, '', { declare: Number.MAX_SAFE_INTEGER });
  }
}

/** Checks that a valid stream still works. */
async function checkAlive(bench: TestGateway): Promise<void> {
  const streamId = newStreamId();
  const device = await RawWebSocket.open(await bench.grant(streamId, 'device'), { ca: bench.ca });
  const service = await RawWebSocket.open(await bench.grant(streamId, 'service'), { ca: bench.ca });
  device.send(rawFrame(2, 'alive'));
  const frame = await service.frame();
  if (frame?.payload.toString() !== 'alive') throw new Error('The gateway no longer carries a stream.');
  device.socket.destroy();
  service.socket.destroy();
  await bench.event('stream-closed', streamId);
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(1_000);
  console.error(`gateway-frames: seed ${seed}, ${runs} runs`);
  await fuzzGatewayFrames(seed, runs);
  await fuzzGatewayFrames(seed, runs, true);
}
