import { describe, expect, it } from 'vitest';
import type { ConnectionEvents } from '../src/core/connection.ts';
import type { DeviceSessionsOptions } from '../src/core/device-sessions.ts';
import { encodeUint64, FRAME, MAX_PAYLOAD_BYTES, readUint32, readUint64, SESSION_REASONS } from '../src/core/frame.ts';
import { parseHello } from '../src/core/hello.ts';
import type { DialFailure } from '../src/core/service-session.ts';
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
    // Frames of 8,000 bytes, in memory of 64 KiB that does not grow meanwhile.
    for (let at = 0; at < 48_000; at += 8_000) {
      connection?.write(pattern(at));
      world.run(world.now + 1);
    }
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
      if (bytes !== frame.payload.length) return;
      link.send(FRAME.ack, 0, encodeUint64(delivered));
      world.setTimer(10, () => {
        for (let at = 48_000; at < 96_000; at += 8_000) connection?.write(pattern(at));
      });
    };
    world.run(50_000, () => bytes === 96_000);
    expect(device.end).toBeUndefined();
    expect([bytes, mistakes]).toEqual([96_000, 0]);
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

  it('drops a link whose device could not prove itself, the first one too, and sends nothing for its sake', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      answer: (link, number, hello) => {
        device.secret = new Uint8Array(32);
        device.answer(world, link, number, hello);
      },
    });
    device.session.open('a', NOTHING);
    world.run(1_000);
    expect(device.links.length).toBeGreaterThan(1);
    expect(device.session.isUp).toBe(false);
    expect(device.end).toBeUndefined();
    expect(new Set(device.refusedLinks)).toEqual(new Set(['The device could not prove that it knows the session.']));
    for (const link of device.links.slice(1)) expect(link.of(FRAME.proof)).toEqual([]);
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

  /** Milliseconds from each failure to the next attempt, of attempts that fail like this after `ms`. */
  function waits(failure: DialFailure, ms: number): number[] {
    const world = new World(1);
    const result: number[] = [];
    let failedAt: number | undefined;
    new ScriptedDevice(world, {
      session: {
        dial: (session) => {
          if (failedAt !== undefined) result.push(world.now - failedAt);
          world.setTimer(ms, () => {
            failedAt = world.now;
            session.dialFailed(failure);
          });
        },
      },
    });
    world.run(5 * MINUTE);
    return result;
  }

  it('dials anew within 10 s at most, at least 25 ms apart', () => {
    for (const all of [waits({}, 0), waits({}, 9_000), waits({ hasWaited: true }, 0)]) {
      expect(all[0]).toBeLessThanOrEqual(50);
      expect(Math.min(...all)).toBeGreaterThanOrEqual(25);
      expect(Math.max(...all)).toBeLessThanOrEqual(10_000);
      expect(all.at(-1)).toBeGreaterThanOrEqual(5_000);
    }
  });

  it('dials anew at once when the hub has waited for the device as long as the back-off', () => {
    const all = waits({ hasWaited: true }, 20_000);
    expect(all.length).toBeGreaterThan(10);
    expect(Math.max(...all)).toBeLessThanOrEqual(50);
    expect(Math.min(...all)).toBeGreaterThanOrEqual(25);
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

describe('a link that carries nothing any more, of which nobody is told', () => {
  it('is lost at both ends after 30 s while a connection is open, though it is silent and everything is acknowledged', () => {
    const pair = new Pair(new World(1), { target: (connection) => connection.accept() });
    const { world } = pair;
    pair.session.start();
    pair.open('a', 0).isStalled = true;
    world.run(10_000);
    pair.isReachable = false;
    pair.wire.blackhole();
    const [session] = pair.device.sessions;
    world.run(29_000);
    expect([pair.session.isUp, session?.isUp]).toEqual([true, true]);
    world.run(41_000);
    expect([pair.session.isUp, session?.isUp]).toEqual([false, false]);
    expect([pair.serviceEnd, pair.deviceEnd]).toEqual([undefined, undefined]);
  });

  it('is dropped by the device after two minutes without a connection, and the session expires', () => {
    const world = new World(1);
    const end = new BareDevice(world, { retentionSeconds: 300 });
    const peer = scriptedService(world, end.sessions, identity(world));
    peer.send(FRAME.open, 1, openPayload('a'));
    peer.send(FRAME.end, 1);
    world.run(100);
    end.at(0).connection.end();
    world.run(200);
    expect(end.at(0).isFinished).toBe(true);
    // Whatever is heard shows that the link is alive.
    world.run(100_000);
    peer.send(FRAME.ping, 0, new Uint8Array(8));
    world.run(210_000);
    const [session] = end.sessions.sessions;
    expect(session?.isUp).toBe(true);
    // The device has sent nothing for the sake of the link: it would wake a radio.
    expect(peer.of(FRAME.ping)).toEqual([]);
    world.run(231_000);
    expect([session?.isUp, session?.detachedAt !== undefined, peer.isClosed]).toEqual([false, true, true]);
    world.run(220_000 + 300_000);
    expect(end.ends).toEqual([]);
    world.run(231_000 + 300_000);
    expect(end.ends).toMatchObject([{ reason: 'expired' }]);
    expect([end.sessions.size, world.timers]).toEqual([0, 0]);
  });

  it('does not outlast the minute after which the service side ends a session without connections', () => {
    const pair = new Pair(new World(1));
    const { world } = pair;
    pair.session.start();
    pair.open('a', 10);
    world.run(10_000);
    pair.wire.blackhole();
    world.run(71_000);
    expect([pair.serviceEnd?.reason, pair.wire.ends[0].isOpen]).toEqual(['done', false]);
    expect(pair.device.sessions[0]?.isUp).toBe(true);
    world.run(141_000);
    expect([pair.device.sessions[0]?.isUp, pair.wire.ends[1].isOpen]).toEqual([false, false]);
  });
});

describe('a BYE that crosses an OPEN', () => {
  it.each([
    [1, 1],
    [3, 0],
  ])(
    'leaves connections whose OPEN has not arrived to another session: with %i as the highest id it is %i',
    (highestId, unopened) => {
      const world = new World(1);
      const device = new ScriptedDevice(world);
      device.session.open('a', NOTHING);
      world.run(100);
      device.session.open('b', NOTHING);
      device.link.send(FRAME.bye, 0, byePayload(SESSION_REASONS.idle, highestId));
      world.run(200);
      expect(device.end).toMatchObject({ reason: 'idle', byPeer: true });
      expect(device.unopened).toBe(unopened);
    },
  );

  it('never leaves one whose program has sent something', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world);
    world.run(100);
    device.session.open('a', NOTHING)?.write(new Uint8Array(1));
    device.link.send(FRAME.bye, 0, byePayload(SESSION_REASONS.idle));
    world.run(200);
    expect([device.end?.reason, device.unopened]).toEqual(['idle', 0]);
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
    // Timers were made for the monotonic clock, which stood still.
    pair.world.run(33_000);
    expect([pair.serviceEnd, pair.deviceEnd]).toMatchObject([{ reason: 'expired' }, { reason: 'expired' }]);
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
