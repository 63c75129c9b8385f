import { encodeFrame, encodeUint64, FRAME, HEADER_BYTES } from '../packages/session/src/core/frame.ts';
import { BareDevice } from '../packages/session/test/bare-device.ts';
import {
  identity,
  openPayload,
  ScriptedDevice,
  type ScriptedLink,
  scriptedService,
} from '../packages/session/test/scripted-peer.ts';
import { World } from '../packages/session/test/virtual-world.ts';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

// Fuzzes both ends of a session with random and damaged frames, before and after the proof: no exception, no memory beyond the bounds, and whoever breaks
// the protocol gets BYE or loses the link.
// `node --conditions=development fuzz/session.ts [--seed N] [--runs N]`

/** How often an end went on, ended the session, or dropped a link before the proof. */
export type FuzzCounts = Record<'unharmed' | 'ended' | 'dropped', number>;

/** Bytes that the session's programs and queues may hold: the windows of the connections that a case can open, and a frame. */
const MAX_RECEIVED_BYTES = 16_777_216 + 65_536;
const TYPES = [...Object.values(FRAME), 0x20, 0x87, 0xc6, 0];

function payload(random: Prng, type: number): Uint8Array {
  if (random.chance(0.2)) return random.bytes(random.integer(0, 300));
  if (type === FRAME.open) return openPayload(random.text(random.integer(0, 20)), random.integer(0, 1_000_000));
  if (type === FRAME.data) return random.bytes(random.pick([1, 10, 1_000, 20_000]));
  if (type === FRAME.limit || type === FRAME.ack || type === FRAME.ping)
    return encodeUint64(random.pick([0, 13, 100, 65_536, 2 ** 40, Number.MAX_SAFE_INTEGER]));
  if (type === FRAME.opened) return random.bytes(4);
  if (type === FRAME.end) return new Uint8Array(0);
  return random.bytes(random.pick([1, 5, 32, 52]));
}

/** Frames that a peer might send, some of which are damaged. */
function conversation(random: Prng): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let count = random.integer(1, 30); count > 0; count--) {
    const type = random.chance(0.6)
      ? random.pick([FRAME.open, FRAME.data, FRAME.end, FRAME.limit, FRAME.reset])
      : random.pick(TYPES);
    const bytes = encodeFrame(
      type,
      random.chance(0.1) ? 0 : random.pick([1, 3, 5, 7, 9, 2, 2 ** 31 + 1]),
      payload(random, type),
    );
    if (random.chance(0.05))
      bytes[random.integer(0, Math.min(bytes.length, HEADER_BYTES) - 1)] = random.integer(0, 255);
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

/** Writes the bytes in pieces, so that frames are cut anywhere. */
function write(link: ScriptedLink, bytes: Uint8Array, random: Prng): void {
  for (let at = 0; at < bytes.length; ) {
    const length = random.chance(0.5) ? bytes.length - at : random.integer(1, bytes.length - at);
    link.write(bytes.subarray(at, at + length));
    at += length;
  }
}

/** The device's end, on the first link or on one that has not proved itself. */
function attackDevice(bytes: Uint8Array, random: Prng, isProven: boolean): keyof FuzzCounts {
  const world = new World(1);
  const device = new BareDevice(world, {}, (opened) => {
    if (random.chance(0.7)) opened.connection.accept();
    else if (random.chance(0.5)) opened.connection.refuse('refused', 'x');
    opened.connection.write(new Uint8Array(random.integer(0, 2_000)));
  });
  const who = identity(world);
  const first = scriptedService(world, device.sessions, who);
  world.run(100);
  const link = isProven ? first : scriptedService(world, device.sessions, who, 2, { isSilent: true });
  link.acknowledges = false;
  world.run(200);
  write(link, bytes, random);
  world.run(1_000);
  const received = device.opened.reduce((sum, { received: each }) => sum + each, 0);
  if (received > MAX_RECEIVED_BYTES) throw new Error(`${received} bytes were taken that nobody consumed.`);
  if (!isProven && (device.ends.length > 0 || first.isClosed))
    throw new Error('A link without a proof ended the session.');
  if (device.ends.length > 0) {
    if (link.of(FRAME.bye).length !== 1) throw new Error('The session ended without BYE.');
    if (device.sessions.connections > 0 || device.sessions.freeBytes !== 67_108_864)
      throw new Error('Something was left.');
    return 'ended';
  }
  return link.isClosed ? 'dropped' : 'unharmed';
}

/** The service side's end, in place of the device's HELLO and PROOF or behind them. */
function attackService(bytes: Uint8Array, random: Prng, isProven: boolean): keyof FuzzCounts {
  const world = new World(1);
  const device = new ScriptedDevice(world, {
    answer: (link, number, hello) => {
      link.acknowledges = false;
      if (isProven || number > 1) device.answer(world, link, number, hello);
      if (number === 1) write(link, bytes, random);
    },
  });
  const events = { data: () => undefined, ended: () => undefined, drained: () => undefined, aborted: () => undefined };
  for (let index = 0; index < 3; index++) device.session.open('a', events);
  world.run(1_000);
  if (!isProven && device.end !== undefined) throw new Error('A link without a proof ended the session.');
  if (device.end === undefined) return device.links.length > 1 ? 'dropped' : 'unharmed';
  if (device.links[0]?.of(FRAME.bye).length !== 1) throw new Error('The session ended without BYE.');
  if (device.session.size > 0) throw new Error('Connections were left.');
  return 'ended';
}

function check(bytes: Uint8Array, random: Prng): (keyof FuzzCounts)[] {
  return [true, false].flatMap((isProven) => [
    attackDevice(bytes, random.fork(), isProven),
    attackService(bytes, random.fork(), isProven),
  ]);
}

/**
 * Sends `runs` conversations to both ends, each before and after the proof; those that are kept first.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzSession(seed: number, runs: number): Promise<FuzzCounts> {
  const random = new Prng(seed);
  const counts: FuzzCounts = { unharmed: 0, ended: 0, dropped: 0 };
  const kept = (await corpus('session', '')).map((text) => Buffer.from(text.toString().trim(), 'hex'));
  for (let run = -kept.length; run < runs; run++) {
    const bytes = run < 0 ? (kept[run + kept.length] as Buffer) : conversation(random);
    try {
      for (const outcome of check(bytes, random.fork())) counts[outcome]++;
    } catch (error) {
      throw new Error(`seed ${seed}, run ${run}: ${Buffer.from(bytes).toString('hex')}`, { cause: error });
    }
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(100_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzSession(seed, runs), null, 2)}\n`);
}
