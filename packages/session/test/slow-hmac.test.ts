import { describe, expect, it } from 'vitest';
import { encodeFrame, FRAME } from '../src/core/frame.ts';
import { Pair, type PairOptions, type Program } from './simulated-pair.ts';
import { SlowHmacWorld } from './slow-hmac-world.ts';

// A proof that is made or verified later than its frame: what arrives meanwhile waits, and what is sent meanwhile goes after it.

const MINUTE = 60_000;

function start(hmacMs: number, options: PairOptions = {}): Pair {
  const pair = new Pair(new SlowHmacWorld(1, () => hmacMs), {
    answerBytes: () => 50_000,
    ...options,
    wire: { splits: false, ...options.wire },
  });
  pair.session.start();
  return pair;
}

function run(pair: Pair, ms: number): void {
  pair.world.run(pair.world.now + ms);
}

/** Runs until all programs are done; fails if one of them is not, or anything was wrong. */
function finish(pair: Pair): void {
  const all = (): Program[] => [...pair.servicePrograms, ...pair.devicePrograms.filter(Boolean)];
  pair.world.run(pair.world.now + 60 * MINUTE, () => all().every(({ isOver }) => isOver));
  for (const program of all())
    expect(program).toMatchObject({ fault: undefined, abortion: undefined, peerEnded: true });
  pair.servicePrograms.forEach((program, index) => {
    expect(program.received).toBe(pair.devicePrograms[index]?.sent);
    expect(pair.devicePrograms[index]?.received).toBe(program.sent);
  });
}

/** Two ends that keep to the protocol refuse none of each other's links. */
function expectNoRefusal(pair: Pair): void {
  expect(pair.refusedLinks).toEqual([]);
}

describe.each([
  ['each part for itself', undefined],
  ['joined with its neighbours', 20],
])('with an HMAC that takes 30 ms and bytes that arrive %s', (_how, joinMs) => {
  it('the first link carries frames behind HELLO and behind PROOF', () => {
    const pair = start(30, { wire: { joinMs } });
    pair.open('a', 300_000);
    finish(pair);
    expectNoRefusal(pair);
    expect(pair.wires.length).toBe(1);
  });

  it('a resume replays behind PROOF', () => {
    const pair = start(30, { wire: { joinMs } });
    pair.open('a', 300_000);
    run(pair, 200);
    pair.wire.cut([0, 0]);
    finish(pair);
    expectNoRefusal(pair);
    expect(pair.wires.length).toBe(2);
  });

  it('a link that takes the place of another that still delivers skips what that one has delivered', () => {
    const pair = start(30, { wire: { joinMs, delayMs: 50, rate: 500 } });
    pair.open('a', 400_000);
    run(pair, 500);
    pair.wire.halfOpen(0, 30_000);
    finish(pair);
    expectNoRefusal(pair);
  });
});

describe('a link lost while its proof is', () => {
  // A link: 5 to 60 ms until it is dialled, then 10 ms each way and 30 ms for each HMAC.
  it.each([
    ['made by the device', 25],
    ['verified by the service side', 65],
    ['made by the service side', 95],
    ['verified by the device', 130],
  ])('%s is replaced', (_when, ms) => {
    const pair = start(30, { answerBytes: () => 400_000 });
    pair.open('a', 800_000);
    run(pair, 300);
    for (let round = 0; round < 3; round++) {
      const links = pair.wires.length;
      pair.wire.cut([0, 0]);
      pair.world.run(pair.world.now + MINUTE, () => pair.wires.length > links);
      run(pair, ms);
    }
    pair.wire.cut([0, 0]);
    finish(pair);
    expectNoRefusal(pair);
  });

  it('made, and the first of its session, leaves the session to be resumed', () => {
    const pair = start(30);
    pair.open('a', 300_000);
    pair.world.run(MINUTE, () => pair.wires.length === 1);
    run(pair, 25);
    pair.wire.cut([0, 0]);
    finish(pair);
    expectNoRefusal(pair);
  });
});

describe('the end of a session while a proof is', () => {
  it('verified reaches the service side, although the link is closed behind BYE', () => {
    const pair = start(30, { maxSessions: 0 });
    pair.open('a', 10);
    run(pair, 300);
    expect(pair.serviceEnd).toMatchObject({ reason: 'too_many', byPeer: true });
    expect(pair.wires.length).toBe(1);
  });

  it('made by a device that takes no session reaches a service side that sends at once', () => {
    const pair = start(30, { maxSessions: 0, wire: { joinMs: 20 } });
    pair.open('a', 300_000);
    run(pair, 300);
    expect(pair.serviceEnd).toMatchObject({ reason: 'too_many', byPeer: true });
    expectNoRefusal(pair);
  });

  it('made by the device is believed, because BYE goes behind PROOF', () => {
    const pair = start(30);
    const program = pair.open('a', 300_000);
    pair.world.run(MINUTE, () => pair.device.size === 1);
    pair.device.close('The agent is stopping.');
    run(pair, 300);
    expect(pair.serviceEnd).toMatchObject({ reason: 'draining', text: 'The agent is stopping.', byPeer: true });
    // The device says that it has taken no OPEN.
    expect(program.hasMoved).toBe(true);
  });

  it('verified by the service side leaves nothing behind', () => {
    const pair = start(30);
    pair.open('a', 300_000);
    pair.world.run(MINUTE, () => pair.device.size === 1);
    run(pair, 45);
    pair.session.close('');
    run(pair, MINUTE);
    expect(pair.serviceEnd).toMatchObject({ reason: 'closed' });
    expect(pair.session.size).toBe(0);
  });
});

describe('a device that verifies for long', () => {
  it('is not sent more than it holds: the rest of a large replay waits for an acknowledgement', () => {
    const pair = start(500, { wire: { delayMs: 100 }, answerBytes: () => 10 });
    for (let index = 0; index < 32; index++) pair.open('a', 4_000_000);
    // Long enough for the ring to grow.
    run(pair, 6_000);
    pair.wire.blackhole(0);
    run(pair, 2_000);
    const sent = pair.servicePrograms.reduce((sum, { connection }) => sum + (connection?.sentBytes ?? 0), 0);
    const received = pair.devicePrograms.reduce((sum, program) => sum + program.received, 0);
    expect(sent - received).toBeGreaterThan(2_000_000);
    pair.wire.cut([0, 0]);
    finish(pair);
    expectNoRefusal(pair);
  });

  it('drops a stranger who sends more than it holds, and the session is unharmed', () => {
    const waits: PairOptions['target'] = (connection, program) => {
      connection.accept();
      program.isStalled = true;
      program.start(connection);
    };
    const pair = start(500, { target: waits });
    pair.open('a', 300_000);
    run(pair, 3_000);
    pair.wire.cut([0, 0]);
    const links = pair.wires.length;
    pair.world.run(pair.world.now + MINUTE, () => pair.wires.length > links);
    run(pair, 50);
    // In the place of the service side, behind its HELLO.
    const frames = [encodeFrame(FRAME.proof, 0, new Uint8Array(32))];
    for (let index = 0; index < 17; index++) frames.push(encodeFrame(FRAME.data, 1, new Uint8Array(65_528)));
    pair.wire.ends[0].write(frames, () => undefined);
    run(pair, 100);
    expect(pair.refusedLinks.join()).toMatch(/Too many bytes while the proof is verified/);
    run(pair, MINUTE);
    expect(pair.session.isUp).toBe(true);
    expect(pair.servicePrograms[0]).toMatchObject({ abortion: undefined, fault: undefined });
  });

  it('takes the newest of several links, in whatever order their proofs are verified', () => {
    const delays = [400, 400, 400, 20];
    const world = new SlowHmacWorld(1, () => delays.shift() ?? 5);
    const pair = new Pair(world, { answerBytes: () => 50_000, wire: { splits: false } });
    pair.session.start();
    pair.open('a', 300_000);
    run(pair, 1_500);
    for (let round = 0; round < 3; round++) {
      delays.push(20, 20, 20, 400);
      pair.session.replaceLink();
      run(pair, 150);
    }
    finish(pair);
  });
});

it('a second PROOF waits while the first is verified, and then ends the session with `protocol`', () => {
  const pair = start(50);
  pair.open('a', 3_000_000);
  run(pair, 1_000);
  pair.wire.cut([0, 0]);
  const links = pair.wires.length;
  pair.world.run(pair.world.now + MINUTE, () => pair.wires.length > links);
  // Three ways of 10 ms and three HMACs: the device has the service side's PROOF 180 ms after the link was dialled.
  run(pair, 185);
  pair.wire.ends[0].write([encodeFrame(FRAME.proof, 0, new Uint8Array(32))], () => undefined);
  run(pair, 30);
  expect(pair.deviceEnd).toBeUndefined();
  run(pair, 100);
  expect(pair.deviceEnd).toMatchObject({ reason: 'protocol', byPeer: false });
  expectNoRefusal(pair);
});
