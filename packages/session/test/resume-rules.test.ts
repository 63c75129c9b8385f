import { describe, expect, it } from 'vitest';
import { encodeFrame, encodeUint64, FRAME, SESSION_REASONS } from '../src/core/frame.ts';
import { encodeHello, type Hello } from '../src/core/hello.ts';
import { BareDevice } from './bare-device.ts';
import { identity, openPayload, scriptedService } from './scripted-peer.ts';
import { Pair, type PairOptions, type Program } from './simulated-pair.ts';
import { type Wire, World } from './virtual-world.ts';

// Each test is a schedule that breaks a session whose rule is left out (docs/protocol/10-session.md).

const MINUTE = 60_000;

function start(options: PairOptions = {}, seed = 1): Pair {
  const pair = new Pair(new World(seed), {
    answerBytes: () => 50_000,
    ...options,
    wire: { splits: false, ...options.wire },
  });
  pair.session.start();
  return pair;
}

/** Runs until all programs are done; fails if one of them is not, or anything was wrong. */
function finish(pair: Pair, ms = 60 * MINUTE): void {
  const all = (): Program[] => [...pair.servicePrograms, ...pair.devicePrograms.filter(Boolean)];
  pair.world.run(pair.world.now + ms, () => all().every(({ isOver }) => isOver));
  for (const program of all())
    expect(program).toMatchObject({ fault: undefined, abortion: undefined, peerEnded: true });
  pair.servicePrograms.forEach((program, index) => {
    expect(program.received).toBe(pair.devicePrograms[index]?.sent);
    expect(pair.devicePrograms[index]?.received).toBe(program.sent);
  });
}

function run(pair: Pair, ms: number): void {
  pair.world.run(pair.world.now + ms);
}

/** A HELLO of a stranger who knows the session's id and nothing else. */
function strangersHello(pair: Pair, over: Partial<Hello> = {}): Uint8Array {
  return encodeHello({
    lowest: 1,
    highest: 1,
    sessionId: pair.session.id,
    link: 99,
    nonce: new Uint8Array(16),
    received: 0,
    retentionSeconds: 900,
    ...over,
  });
}

/** A link to the device that the session knows nothing of; returns what the device sends on it. */
function strangersLink(
  pair: Pair,
  caller = 'policy:service',
): { wire: Wire; send(bytes: Uint8Array): void; isClosed(): boolean } {
  const wire = pair.connect({ ...pair.offer(), caller });
  const end = wire.ends[0];
  let isClosed = false;
  end.link = { receive: () => undefined, lost: () => (isClosed = true) } as never;
  return { wire, send: (bytes) => end.write([bytes], () => undefined), isClosed: () => isClosed };
}

describe('a lost link', () => {
  it('is replaced, and every byte arrives once', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 100);
    pair.wire.cut([0, 0]);
    finish(pair);
    expect(pair.linksProven).toBeGreaterThan(1);
  });

  it('may deliver frames while its successor is being made: they are skipped on that one', () => {
    const pair = start({ wire: { delayMs: 50, rate: 500 } });
    pair.open('a', 400_000);
    run(pair, 500);
    const old = pair.wire;
    // The service side sees the loss at once; what is under way still reaches the device for a while.
    old.halfOpen(0, 30_000);
    finish(pair);
  });

  it.each([
    ['before HELLO arrives', 1],
    ['before the answer to HELLO arrives', 15],
    ['before the proof arrives', 25],
    ['right after the proof', 35],
  ])('is lost again during the resume, %s', (_when, ms) => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    for (let round = 0; round < 4; round++) {
      const links = pair.wires.length;
      pair.wire.cut([0, 0]);
      pair.world.run(pair.world.now + MINUTE, () => pair.wires.length > links);
      run(pair, ms);
    }
    pair.wire.cut([0, 0]);
    finish(pair);
  });

  it('is noticed after two PINGs without an answer, and a program that only waits keeps its connection', () => {
    const pair = start({
      target: (connection, program) => {
        connection.accept();
        program.isStalled = true;
        program.start(connection);
      },
    });
    const program = pair.open('a', 10);
    run(pair, 5_000);
    program.isStalled = true;
    pair.wire.blackhole();
    run(pair, 24_000);
    expect(pair.linksLost).toBe(0);
    run(pair, 2_000);
    expect(pair.linksLost).toBe(1);
    run(pair, 5_000);
    expect(pair.session.isUp).toBe(true);
    expect(program.abortion).toBeUndefined();
  });

  it('is no reason to give up after many failed attempts, within the retention', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    pair.isReachable = false;
    pair.wire.cut([0, 0]);
    run(pair, 14 * MINUTE);
    pair.isReachable = true;
    finish(pair);
  });

  it('ends all connections with a reason when the retention is over, at both ends', () => {
    const pair = start({ retentionSeconds: 60 });
    const program = pair.open('a', 3_000_000);
    run(pair, 60);
    pair.isReachable = false;
    pair.wire.cut([0, 0]);
    run(pair, 61_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'expired' });
    expect(pair.deviceEnd).toMatchObject({ reason: 'expired' });
    expect(program.abortion).toMatchObject({ reason: 'reset' });
    expect(pair.devicePrograms[0]?.abortion).toMatchObject({ reason: 'reset' });
  });

  it('does not count the retention from when a suspended process wakes, nor a wall clock that is set', () => {
    const pair = start({ retentionSeconds: 900 });
    pair.open('a', 300_000);
    run(pair, 60);
    // A board whose clock was at 1970 learns the time.
    pair.world.wallAhead += 56 * 365 * 24 * 3_600_000;
    pair.wire.cut([0, 0]);
    finish(pair);
  });

  it('while nothing is open and nothing unacknowledged ends the session quietly', () => {
    const pair = start();
    pair.open('a', 1_000);
    finish(pair);
    run(pair, 1_000);
    pair.wire.cut([0, 0]);
    run(pair, 100);
    expect(pair.serviceEnd).toMatchObject({ reason: 'done' });
  });
});

describe('a device that restarted', () => {
  it('does not know the session: connections that have sent something are reset, the others may go on elsewhere', () => {
    const pair = start({ isEncrypted: true, target: () => undefined });
    const busy = pair.open('busy', 100);
    run(pair, 100);
    // Opened while the link is lost, so that nothing of it was sent.
    pair.isReachable = false;
    pair.restartDevice();
    run(pair, 1_000);
    const idle = pair.session.open('idle', pair.servicePrograms[0] as Program);
    expect(idle).toBeDefined();
    pair.isReachable = true;
    run(pair, MINUTE);
    expect(pair.serviceEnd).toMatchObject({ reason: 'unknown', byPeer: true });
    expect(busy.abortion).toMatchObject({ reason: 'reset' });
    expect(pair.untouched).toBe(1);
  });

  it('is believed without encryption only when three links in a row say so, since a stranger may answer one', () => {
    const pair = start({ target: () => undefined });
    pair.open('a', 100);
    run(pair, 200);
    const links = pair.wires.length;
    pair.restartDevice();
    run(pair, 2 * MINUTE);
    expect(pair.serviceEnd).toMatchObject({ reason: 'unknown' });
    expect(pair.wires.length - links).toBe(3);
  });
});

describe('a stranger', () => {
  it('who answers HELLO with a false proof loses the link, and the session is unharmed', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    const stranger = strangersLink(pair);
    stranger.send(strangersHello(pair));
    run(pair, 25);
    stranger.send(encodeFrame(FRAME.proof, 0, new Uint8Array(32)));
    run(pair, 100);
    expect(stranger.isClosed()).toBe(true);
    expect(pair.refusedLinks.join()).toMatch(/could not prove/);
    finish(pair);
  });

  it('who claims impossible offsets is not believed before the proof', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    strangersLink(pair).send(strangersHello(pair, { received: 2 ** 40 }));
    finish(pair);
    expect(pair.deviceEnd).toBeUndefined();
  });

  it('who sends the first HELLO of a session that exists is dropped', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    const first = { secret: new Uint8Array(32), deviceId: 'press-7', moduleId: '' };
    const stranger = strangersLink(pair);
    stranger.send(strangersHello(pair, { link: 1, first }));
    run(pair, 100);
    expect(stranger.isClosed()).toBe(true);
    finish(pair);
  });

  it('of another caller gets no answer', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    strangersLink(pair, 'policy:other').send(strangersHello(pair));
    run(pair, 100);
    expect(pair.refusedLinks.join()).toMatch(/another caller/);
    finish(pair);
  });

  it('who says nothing is dropped after a minute, and ten seconds after the first byte', () => {
    const pair = start({ answerBytes: () => 10 });
    pair.open('a', 10);
    finish(pair);
    const [silent, slow] = [strangersLink(pair), strangersLink(pair)];
    slow.send(strangersHello(pair).subarray(0, 20));
    run(pair, 11_000);
    expect([silent.isClosed(), slow.isClosed()]).toEqual([false, true]);
    run(pair, 50_000);
    expect(silent.isClosed()).toBe(true);
  });

  it('who sends frames before the proof is dropped', () => {
    const pair = start();
    pair.open('a', 300_000);
    run(pair, 60);
    const stranger = strangersLink(pair);
    stranger.send(strangersHello(pair));
    stranger.send(encodeFrame(FRAME.ack, 0, encodeUint64(0)));
    run(pair, 100);
    expect(stranger.isClosed()).toBe(true);
    finish(pair);
  });
});

describe('the end of a session', () => {
  it('is the service side’s, a minute after the last connection, when everything is acknowledged', () => {
    const pair = start();
    pair.open('a', 1_000);
    finish(pair);
    run(pair, 59_000);
    expect(pair.serviceEnd).toBeUndefined();
    run(pair, 2_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'done' });
    expect(pair.deviceEnd).toMatchObject({ reason: 'done', byPeer: true });
  });

  it('by an agent that stops reaches the service side with its reason', () => {
    const pair = start();
    const program = pair.open('a', 30_000_000);
    run(pair, 60);
    pair.device.close('The agent is stopping.');
    run(pair, 100);
    expect(pair.serviceEnd).toMatchObject({ reason: 'draining', text: 'The agent is stopping.', byPeer: true });
    expect(program.abortion).toMatchObject({ reason: 'going_away' });
  });

  it('comes with `idle` when no data moves for as long as the hub allows, a PING being no data', () => {
    const pair = start({ idleMs: 120_000, target: (connection) => connection.accept() });
    const program = pair.open('a', 10);
    run(pair, 110_000);
    expect(pair.serviceEnd).toBeUndefined();
    run(pair, 30_000);
    expect([pair.serviceEnd?.reason, pair.deviceEnd?.reason]).toEqual(['idle', 'idle']);
    expect(program.abortion).toBeDefined();
  });

  it.each([
    ['an ACK beyond what was sent', encodeFrame(FRAME.ack, 0, encodeUint64(2 ** 40))],
    ['an ACK inside a frame', encodeFrame(FRAME.ack, 0, encodeUint64(5))],
    ['DATA for a connection that was never opened', encodeFrame(FRAME.data, 77, new Uint8Array(1))],
    ['an OPEN with an id that was used', encodeFrame(FRAME.open, 1, new Uint8Array(5))],
    ['empty DATA', encodeFrame(FRAME.data, 1)],
    ['a LIMIT that goes back', encodeFrame(FRAME.limit, 1, encodeUint64(1))],
    ['an unknown counted type', encodeFrame(0x20, 1)],
  ])('comes with `protocol` after %s', (_what, frame) => {
    const pair = start({ target: (connection) => connection.accept() });
    // Its direction has not ended: anything behind END would be wrong.
    pair.open('a', 10).isStalled = true;
    run(pair, 300);
    pair.wire.ends[0].write([frame], () => undefined);
    run(pair, 100);
    expect(pair.deviceEnd).toMatchObject({ reason: 'protocol', byPeer: false });
    expect(pair.serviceEnd).toMatchObject({ reason: 'protocol', byPeer: true });
  });

  it('comes with `protocol` after an ACK between the borders of a frame that was sent', () => {
    const world = new World(1);
    const bare = new BareDevice(world);
    const peer = scriptedService(world, bare.sessions, identity(world));
    peer.acknowledges = false;
    peer.send(FRAME.open, 1, openPayload('a'));
    world.run(world.now + 100);
    // OPENED has 12 bytes.
    peer.send(FRAME.ack, 0, encodeUint64(11));
    world.run(world.now + 100);
    expect(bare.ends).toMatchObject([{ reason: 'protocol', byPeer: false }]);
  });

  it('does not come from frames that a newer version may send', () => {
    const pair = start({ target: (connection) => connection.accept() });
    pair.open('a', 10);
    run(pair, 300);
    for (const type of [0xc6, 0xff])
      pair.wire.ends[0].write([encodeFrame(type, 0, new Uint8Array(3))], () => undefined);
    run(pair, 100);
    expect(pair.deviceEnd).toBeUndefined();
    expect(SESSION_REASONS.protocol).toBe(5);
  });
});
