import { describe, expect, it } from 'vitest';
import type { ConnectionEvents } from '../src/core/connection.ts';
import type { DeviceSessionsOptions } from '../src/core/device-sessions.ts';
import { encodeUint64, FRAME, MAX_PAYLOAD_BYTES, readUint32, readUint64, SESSION_REASONS } from '../src/core/frame.ts';
import { parseHello } from '../src/core/hello.ts';
import { BareDevice } from './bare-device.ts';
import { byePayload, identity, openPayload, ScriptedDevice, scriptedService } from './scripted-peer.ts';
import { Pair, type PairOptions } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

const MINUTE = 60_000;
const NOTHING: ConnectionEvents = {
  data: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  aborted: () => undefined,
};

function everythingArrives(pair: Pair): void {
  const all = () => [...pair.servicePrograms, ...pair.devicePrograms.filter(Boolean)];
  pair.world.run(pair.world.now + 60 * MINUTE, () => all().every(({ isOver }) => isOver), 8_000_000);
  for (const program of all())
    expect(program).toMatchObject({ fault: undefined, abortion: undefined, peerEnded: true });
  for (const [index, program] of pair.servicePrograms.entries())
    expect([program.received, pair.devicePrograms[index]?.received]).toEqual([
      pair.devicePrograms[index]?.sent,
      program.sent,
    ]);
}

describe('several links at the device', () => {
  function device(options: Partial<DeviceSessionsOptions> = {}) {
    const world = new World(1);
    const end = new BareDevice(world, options);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    first.send(FRAME.open, 1, openPayload('a'));
    world.run(100);
    return { world, end, who, first };
  }

  it('count each from the `received` of its own HELLO, though an older link delivers more meanwhile', () => {
    const { world, end, who, first } = device();
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true, hello: { received: 12 } });
    world.run(150);
    first.send(FRAME.data, 1, new Uint8Array(1_000));
    world.run(200);
    const third = scriptedService(world, end.sessions, who, 3, { isSilent: true, hello: { received: 12 } });
    world.run(250);
    first.send(FRAME.data, 1, new Uint8Array(500));
    world.run(300);
    const received = [second, third].map(
      (link) => parseHello(link.of(FRAME.hello)[0]?.payload as Uint8Array, 'device')?.received,
    );
    expect(received).toEqual([13, 13 + 1_008]);
    // The third proves itself; it has sent everything from its own offset on, of which the device skips what the first link delivered.
    third.prove();
    third.send(FRAME.data, 1, new Uint8Array(500));
    third.send(FRAME.data, 1, new Uint8Array(7));
    world.run(400);
    expect(end.at(0).received).toBe(1_507);
    expect([first.isClosed, second.isClosed, third.isClosed]).toEqual([true, true, false]);
    expect(end.ends).toEqual([]);
  });

  it('must repeat a frame that was delivered with the same length', () => {
    const { world, end, who, first } = device();
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true, hello: { received: 12 } });
    world.run(150);
    first.send(FRAME.data, 1, new Uint8Array(1_000));
    world.run(200);
    second.prove();
    second.send(FRAME.data, 1, new Uint8Array(1_001));
    world.run(300);
    expect(end.ends).toMatchObject([{ reason: 'protocol', text: 'A repeated frame has another length.' }]);
  });

  it('are kept when an older one is proven, and the newer ones may still prove themselves', () => {
    const { world, end, who } = device();
    const [second, third] = [2, 3].map((number) =>
      scriptedService(world, end.sessions, who, number, { isSilent: true, hello: { received: 12 } }),
    ) as [ReturnType<typeof scriptedService>, ReturnType<typeof scriptedService>];
    world.run(150);
    second.prove();
    world.run(200);
    expect(third.isClosed).toBe(false);
    third.prove();
    world.run(250);
    expect([second.isClosed, third.isClosed]).toEqual([true, false]);
    expect(end.sessions.sessions[0]?.isUp).toBe(true);
  });

  it('are judged by their numbers with the proof: a replayed or old number loses its link only', () => {
    const { world, end, who } = device();
    const third = scriptedService(world, end.sessions, who, 3, { hello: { received: 12 } });
    world.run(150);
    for (const number of [2, 3]) {
      const old = scriptedService(world, end.sessions, who, number, { hello: { received: 12 } });
      world.run(world.now + 50);
      expect(old.isClosed).toBe(true);
    }
    expect(third.isClosed).toBe(false);
    expect(end.ends).toEqual([]);
    expect(end.sessions.sessions[0]?.isUp).toBe(true);
  });

  it('tell that the link was lost and is back, also when the newer one is there first', () => {
    const told: string[] = [];
    const { world, end, who, first } = device({
      linkLost: () => told.push('lost'),
      linkProven: (session) => told.push(session.isUp ? 'back' : 'back, but not up'),
    });
    scriptedService(world, end.sessions, who, 2, { hello: { received: 12 } });
    world.run(200);
    expect(first.isClosed).toBe(true);
    expect(told).toEqual(['back', 'lost', 'back']);
  });

  it('do not make the current one drop before a newer one is proven', () => {
    const { world, end, who, first } = device();
    const bad = scriptedService(world, end.sessions, who, 2, { isFalse: true, hello: { received: 12 } });
    world.run(200);
    expect([bad.isClosed, first.isClosed]).toEqual([true, false]);
    first.send(FRAME.data, 1, new Uint8Array(3));
    world.run(300);
    expect(end.at(0).received).toBe(3);
  });

  it('are dropped after 10 s without PROOF, also when the session has no link', () => {
    const { world, end, who, first } = device();
    first.lose();
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true });
    world.run(9_900);
    expect(second.isClosed).toBe(false);
    world.run(10_300);
    expect(second.isClosed).toBe(true);
    expect(end.sessions.size).toBe(1);
  });

  it('get BYE `offsets` after a good proof when the service side claims what cannot be', () => {
    for (const received of [2 ** 40, 5]) {
      const { world, end, who, first } = device();
      first.lose();
      world.run(150);
      const second = scriptedService(world, end.sessions, who, 2, { hello: { received } });
      world.run(300);
      expect(end.ends).toMatchObject([{ reason: 'offsets', byPeer: false }]);
      expect(second.of(FRAME.bye)[0]?.payload[0]).toBe(SESSION_REASONS.offsets);
    }
  });
});

describe('what a former link delivered', () => {
  it('after HELLO was answered is acknowledged on the new link, though nothing more is sent', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    first.send(FRAME.open, 1, openPayload('a'));
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true, hello: { received: 12 } });
    world.run(150);
    first.send(FRAME.data, 1, new Uint8Array(1_000));
    world.run(160);
    second.prove();
    second.send(FRAME.data, 1, new Uint8Array(1_000));
    world.run(1_000);
    const acks = second.of(FRAME.ack).map(({ payload }) => readUint64(payload, 0));
    expect(acks).toEqual([13 + 1_008]);
    expect(end.at(0).received).toBe(1_000);
  });

  it('is not overwritten in the ring before the new link has passed it on', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      wire: { delayMs: 1, rate: 20 },
      answer: (link, number, hello) => device.answer(world, link, number, hello, number === 1 ? {} : { received: 13 }),
    });
    const connection = device.session.open('a', NOTHING);
    world.run(100);
    device.link.acknowledges = false;
    device.link.send(FRAME.opened, 1, new Uint8Array(4).fill(0xff));
    world.run(150);
    const pattern = (from: number): Uint8Array => Uint8Array.from({ length: 8_000 }, (_, at) => (from + at) % 251);
    for (let at = 0; at < 160_000; at += 8_000) connection?.write(pattern(at));
    world.run(20_000);
    const delivered = device.link.received;
    device.link.lose();
    world.run(21_000, () => device.links.length === 2);
    device.link.acknowledges = false;
    let bytes = 0;
    let mistakes = 0;
    const check = device.link.onFrame;
    const link = device.link;
    link.onFrame = (frame) => {
      check?.(frame);
      if (frame.type !== FRAME.data) return;
      for (const byte of frame.payload) if (byte !== bytes++ % 251) mistakes++;
      // The former link has delivered everything: acknowledged long before it has left on this one.
      if (bytes === frame.payload.length) link.send(FRAME.ack, 0, encodeUint64(delivered));
    };
    world.run(24_000);
    for (let at = 160_000; at < 320_000; at += 8_000) connection?.write(pattern(at));
    world.run(50_000, () => bytes === 320_000);
    expect(device.end).toBeUndefined();
    expect([bytes, mistakes]).toEqual([320_000, 0]);
  });
});

describe('an HMAC that takes a while', () => {
  it.each([1, 30])('of %i ms lets nothing go before the proof, and nothing is lost', (hmacMs) => {
    const pair = new Pair(new World(1), { hmacMs, answerBytes: () => 300_000, wire: { splits: false } });
    pair.session.start();
    for (let index = 0; index < 3; index++) pair.open('a', 300_000);
    for (let round = 0; round < 5; round++) {
      const links = pair.linksProven;
      pair.world.run(pair.world.now + MINUTE, () => pair.linksProven > links);
      pair.world.run(pair.world.now + 40);
      pair.wire.cut([0, 0]);
    }
    everythingArrives(pair);
    expect(pair.refusedLinks).toEqual([]);
  });

  it('holds what arrives behind the proof, up to 1 MiB', () => {
    const world = new World(1);
    const end = new BareDevice(world, { environment: world.environment(1_000) });
    const who = identity(world);
    scriptedService(world, end.sessions, who);
    world.run(1_100);
    const second = scriptedService(world, end.sessions, who, 2);
    world.run(1_500);
    for (let sent = 0; sent < 1_100_000; sent += 50_000) second.send(0xc6, 0, new Uint8Array(50_000));
    world.run(1_600);
    expect(second.isClosed).toBe(true);
    expect(end.refusedLinks.join()).toMatch(/Too many bytes while the proof is verified/);
    expect(end.ends).toEqual([]);
  });

  it('does not keep a session whose first link was lost meanwhile longer than the retention', () => {
    const world = new World(1);
    const end = new BareDevice(world, { environment: world.environment(1_000), retentionSeconds: 60 });
    const link = scriptedService(world, end.sessions, identity(world));
    world.run(100);
    link.lose();
    world.run(2 * MINUTE);
    expect(end.ends).toMatchObject([{ reason: 'expired' }]);
    expect(world.timers).toBe(0);
  });
});

describe('the service side', () => {
  it('takes HELLO of another version before the proof for a BYE: three links must say so', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      answer: (link, number, hello) =>
        device.answer(world, link, number, hello, number === 1 ? {} : { lowest: 2, highest: 3 }),
    });
    device.session.open('a', NOTHING);
    world.run(200);
    device.link.lose();
    world.run(10 * MINUTE, () => device.links.length === 3);
    expect(device.end).toBeUndefined();
    world.run(10 * MINUTE);
    expect(device.end).toMatchObject({ reason: 'version' });
    expect(device.links).toHaveLength(4);
  });

  it.each([
    ['the number of another link', { link: 9 }],
    ['the id of another session', { sessionId: new Uint8Array(16) }],
  ])('drops a link with %s', (_what, over) => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      answer: (link, number, hello) => device.answer(world, link, number, hello, number === 1 ? over : {}),
    });
    world.run(1_000);
    expect(device.refusedLinks[0]).toMatch(/another session/);
    expect(device.session.isUp).toBe(true);
  });

  it('proves itself before it says BYE `offsets` to a device that claims what cannot be', () => {
    for (const received of [2 ** 40, 5]) {
      const world = new World(1);
      const device = new ScriptedDevice(world, {
        answer: (link, number, hello) => device.answer(world, link, number, hello, number === 1 ? {} : { received }),
      });
      device.session.open('a', NOTHING);
      world.run(200);
      device.link.lose();
      world.run(1_000);
      expect(device.end).toMatchObject({ reason: 'offsets', byPeer: false });
      expect(device.link.frames.map(({ type }) => type)).toEqual([FRAME.hello, FRAME.proof, FRAME.bye]);
    }
  });

  it('gives up with `expired` when no link could be had for as long as the retention, also before the first', () => {
    const world = new World(1);
    const pair = new Pair(world, { retentionSeconds: 60 });
    pair.isReachable = false;
    pair.session.start();
    const program = pair.open('a', 10);
    world.run(59_000);
    expect(program.abortion).toBeUndefined();
    world.run(61_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'expired' });
    // No device has heard of it, so that another session may still open it.
    expect(program.hasMoved).toBe(true);
  });

  it('dials anew within 10 s at most, at least 50 ms apart, and at once when the device returns', () => {
    const world = new World(1);
    const dials: number[] = [];
    const device = new ScriptedDevice(world, {
      session: {
        dial: (session) => {
          dials.push(world.now);
          session.dialFailed({});
        },
      },
    });
    world.run(5 * MINUTE);
    const waits = dials.slice(1).map((at, index) => at - (dials[index] as number));
    expect(waits[0]).toBeLessThanOrEqual(50);
    expect(Math.max(...waits)).toBeLessThanOrEqual(10_000);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(5_000);
    const before = dials.length;
    device.session.deviceReturned();
    expect(dials).toHaveLength(before + 1);
  });

  it('waits longer while links carry nothing, though they are proven', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      answer: (link, number, hello) => {
        link.acknowledges = false;
        device.answer(world, link, number, hello);
        world.setTimer(20, () => link.lose());
      },
    });
    device.session.open('a', NOTHING);
    world.run(MINUTE);
    // With no back-off there would be several hundred.
    expect(device.links.length).toBeLessThan(30);
  });

  it('drops a link whose device has not said HELLO and PROOF 10 s after its first byte', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, { answer: (link) => link.write(new Uint8Array([FRAME.hello])) });
    world.run(10_000);
    expect(device.links).toHaveLength(1);
    world.run(11_000);
    expect(device.links).toHaveLength(2);
    const silent = new ScriptedDevice(world, { answer: () => undefined });
    world.run(69_000);
    expect(silent.links).toHaveLength(1);
    world.run(72_000);
    expect(silent.links).toHaveLength(2);
  });

  it('never uses a link number twice, also not for links that were lost before the proof', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, { answer: (link) => link.lose() });
    world.run(MINUTE);
    const numbers = device.links.flatMap((link) => link.of(FRAME.hello).map(({ payload }) => readUint32(payload, 20)));
    expect(numbers.length).toBeGreaterThan(5);
    expect(numbers).toEqual(numbers.map((_number, index) => index + 1));
  });

  it('reads what is in flight before a BYE and the close behind it', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world);
    let received = 0;
    const data = (bytes: Uint8Array): void => {
      received += bytes.length;
    };
    device.session.open('a', { ...NOTHING, data });
    world.run(100);
    device.link.send(FRAME.opened, 1, new Uint8Array(4));
    for (let index = 0; index < 10; index++) device.link.send(FRAME.data, 1, new Uint8Array(10_000));
    device.link.send(FRAME.bye, 0, byePayload(SESSION_REASONS.draining));
    device.link.wire.ends[1].end();
    world.run(200);
    expect(received).toBe(100_000);
    expect(device.end).toMatchObject({ reason: 'draining', byPeer: true });
  });
});

describe('the idle limit', () => {
  it.each([
    ['an upload', 1, 100_000_000, 0],
    ['a download', 0, 0, 100_000_000],
  ])('does not end %s, in which one end only sends and the other only receives', (_what, _side, up, down) => {
    const pair = new Pair(new World(1), {
      idleMs: 10_000,
      answerBytes: () => down,
      wire: { rate: 200, splits: false },
    });
    pair.session.start();
    const program = pair.open('a', up);
    // This direction is over, the other goes on.
    program.isStalled = up === 0;
    pair.world.run(60_000);
    expect([pair.serviceEnd, pair.deviceEnd]).toEqual([undefined, undefined]);
  });

  it('stands still while there is no link', () => {
    const pair = new Pair(new World(1), { idleMs: 10_000, target: (connection) => connection.accept() });
    pair.session.start();
    pair.open('a', 10).isStalled = true;
    pair.world.run(1_000);
    pair.isReachable = false;
    pair.wire.cut([0, 0]);
    pair.world.run(60_000);
    expect([pair.serviceEnd, pair.deviceEnd]).toEqual([undefined, undefined]);
    pair.isReachable = true;
    pair.world.run(90_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'idle' });
  });
});

describe('frames', () => {
  /** Lengths of DATA that the service side sends on a link of this rate. */
  function lengths(rate: number, bulks: number): number[] {
    const world = new World(1);
    const device = new ScriptedDevice(world, { wire: { rate, delayMs: 20 } });
    const connections = Array.from({ length: bulks }, () => device.session.open('a', NOTHING));
    world.run(100);
    for (let index = 0; index < bulks; index++)
      device.link.send(FRAME.opened, 1 + 2 * index, new Uint8Array(4).fill(0xff));
    world.run(200);
    const write = (): void => {
      for (const connection of connections)
        while (
          connection !== undefined &&
          connection.queuedBytes < 262_144 &&
          connection.write(new Uint8Array(65_536))
        );
      world.setTimer(10, write);
    };
    write();
    world.run(20_000);
    return device.link
      .of(FRAME.data)
      .slice(100)
      .map(({ payload }) => payload.length);
  }

  it.each([
    ['4 KiB below 1 Mbit/s', 50, 1, 4_096],
    ['16 KiB while several connections send', 1_000, 3, 16_384],
    ['64 KiB otherwise', 2_000, 1, MAX_PAYLOAD_BYTES],
  ])('have at most %s', (_what, rate, bulks, most) => {
    expect(Math.max(...lengths(rate, bulks))).toBeLessThanOrEqual(most);
    expect(Math.max(...lengths(rate, bulks))).toBeGreaterThan(most / 3);
  });
});

describe('suspended machines', () => {
  const options: PairOptions = {
    answerBytes: () => 300_000,
    target: (connection, program) => {
      connection.accept();
      program.isStalled = true;
      program.start(connection);
    },
  };

  it('count the time of the wall clock: the retention is over when the machine wakes', () => {
    const pair = new Pair(new World(1), { ...options, retentionSeconds: 900 });
    pair.session.start();
    const program = pair.open('a', 10);
    pair.world.run(1_000);
    pair.isReachable = false;
    pair.wire.cut([0, 0]);
    pair.world.run(2_000);
    pair.world.wallAhead += 20 * MINUTE;
    // The timer of the retention was made for the monotonic clock, which stood still.
    pair.world.run(16 * MINUTE);
    expect(pair.serviceEnd).toMatchObject({ reason: 'expired' });
    expect(program.abortion).toBeDefined();
  });

  it('do not take silence for a loss when a timer fires late', () => {
    const pair = new Pair(new World(1), options);
    pair.session.start();
    pair.open('a', 10).isStalled = true;
    pair.world.run(9_000);
    // Stopped for five minutes: everything that was due comes at once, in its order.
    pair.world.now += 5 * MINUTE;
    pair.world.run(pair.world.now + 5_000);
    expect(pair.linksLost).toBe(0);
  });
});
