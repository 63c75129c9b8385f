import { describe, expect, it } from 'vitest';
import { Budget } from '../src/core/budget.ts';
import { CONNECTION_REASONS, encodeUint64, FRAME, readUint32, readUint64 } from '../src/core/frame.ts';
import { ReceiveWindows } from '../src/core/receive-windows.ts';
import { FREE_RING_BYTES, ReplayRing } from '../src/core/replay-ring.ts';
import { BareDevice } from './bare-device.ts';
import { identity, openPayload, ScriptedDevice, scriptedService } from './scripted-peer.ts';
import { Pair, Program } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

const KIB = 1_024;
const MIB = 1_048_576;
/** A limit beyond everything that these tests send. */
const UNLIMITED = 0xffffffff;

/** A device with connections 1, 3, 5, … that were opened by a peer whose frames the test writes. */
function device(connections = 1, limit = UNLIMITED) {
  const world = new World(1);
  const end = new BareDevice(world);
  const peer = scriptedService(world, end.sessions, identity(world));
  for (let index = 0; index < connections; index++) peer.send(FRAME.open, 1 + 2 * index, openPayload('a', limit));
  const run = (ms: number): void => void world.run(world.now + ms);
  run(200);
  return { world, end, peer, run };
}

describe('the limit of a connection', () => {
  it('is 256 KiB at first, and is renewed when half was consumed, never on receipt', () => {
    const { end, peer, run } = device();
    expect(readUint32(peer.of(FRAME.opened)[0]?.payload as Uint8Array, 0)).toBe(256 * KIB);
    for (let sent = 0; sent < 256 * KIB; sent += 32 * KIB) peer.send(FRAME.data, 1, new Uint8Array(32 * KIB));
    run(500);
    expect(end.at(0).received).toBe(256 * KIB);
    expect(peer.of(FRAME.limit)).toHaveLength(0);
    end.at(0).connection.consumed(128 * KIB - 1);
    run(100);
    expect(peer.of(FRAME.limit)).toHaveLength(0);
    end.at(0).connection.consumed(1);
    run(100);
    expect(peer.of(FRAME.limit).map(({ payload }) => readUint64(payload, 0))).toEqual([384 * KIB]);
  });

  it('is kept by the peer, or the connection is reset, and no other', () => {
    const { end, peer, run } = device(2);
    for (let sent = 0; sent < 256 * KIB; sent += 32 * KIB) peer.send(FRAME.data, 1, new Uint8Array(32 * KIB));
    run(100);
    expect(end.at(0).abortion).toBeUndefined();
    peer.send(FRAME.data, 1, new Uint8Array(1));
    peer.send(FRAME.data, 3, new Uint8Array(5));
    run(100);
    expect(end.at(0).abortion).toBe('flow_control');
    expect(peer.of(FRAME.reset, 1)[0]?.payload[0]).toBe(CONNECTION_REASONS.flow_control);
    expect(end.at(1)).toMatchObject({ received: 5, abortion: undefined });
    expect(end.ends).toEqual([]);
  });

  it('lets 1,000 connections have one each, within 16 MiB together, and no more', () => {
    const { end, peer, run } = device(1_001);
    const limits = peer.of(FRAME.opened).map(({ payload }) => readUint32(payload, 0));
    expect(limits).toHaveLength(1_000);
    expect(Math.min(...limits)).toBe(8 * KIB);
    expect(limits.reduce((sum, limit) => sum + limit, 0)).toBeLessThanOrEqual(16 * MIB);
    expect(peer.of(FRAME.refused).map(({ id, payload }) => [id, payload[0]])).toEqual([
      [2_001, CONNECTION_REASONS.too_many],
    ]);
    // A place that is free again is used.
    peer.send(FRAME.reset, 1, Uint8Array.of(0));
    peer.send(FRAME.open, 2_003, openPayload('a'));
    run(100);
    expect(peer.of(FRAME.opened, 2_003)).toHaveLength(1);
    expect(end.opened).toHaveLength(1_001);
  });

  it('is renewed to an equal share while memory is scarce, at half of it and not for each frame', () => {
    const { end, peer, run } = device(1_000);
    const share = (8 * MIB) / 1_000;
    for (let sent = 0; sent < 256 * KIB; sent += KIB) {
      peer.send(FRAME.data, 1, new Uint8Array(KIB));
      run(10);
      end.at(0).connection.consumed(KIB);
    }
    run(100);
    const limits = peer.of(FRAME.limit, 1).map(({ payload }) => readUint64(payload, 0));
    // The first window is used up to half of the share before it is renewed.
    expect(limits).toHaveLength(1);
    expect(limits[0]).toBeLessThanOrEqual(256 * KIB + share);
    for (let round = 0; round < 40; round++) {
      peer.send(FRAME.data, 1, new Uint8Array(KIB));
      run(10);
      end.at(0).connection.consumed(KIB);
    }
    run(100);
    expect(peer.of(FRAME.limit, 1).length).toBeLessThanOrEqual(1 + 40 / 4);
    expect(end.at(0).abortion).toBeUndefined();
  });

  it('grows only from the first 8 MiB, and only while the budget has room', () => {
    const budget = new Budget(64 * MIB);
    const windows = new ReceiveWindows(budget);
    const sizes: number[] = [];
    for (let index = 0; index < 40; index++) sizes.push(windows.open().limit);
    expect(sizes.filter((size) => size === 256 * KIB)).toHaveLength(32);
    expect(sizes.filter((size) => size === 8 * KIB)).toHaveLength(8);
    expect(windows.tryGrow(256 * KIB)).toBe(false);

    const few = new ReceiveWindows(budget);
    few.open();
    let size = 256 * KIB;
    while (few.tryGrow(size)) size *= 2;
    expect(size).toBe(4 * MIB);

    const poor = new ReceiveWindows(new Budget(300 * KIB));
    const window = poor.open();
    expect([window.limit, poor.open().limit, poor.tryGrow(256 * KIB)]).toEqual([256 * KIB, 8 * KIB, false]);
    window.close();
    expect(poor.open().limit).toBe(256 * KIB);
  });

  it('lets the service side send 8 KiB before the device has answered', () => {
    const pair = new Pair(new World(1), { target: () => undefined });
    pair.session.start();
    pair.open('a', 100_000);
    pair.world.run(1_000);
    expect(pair.devicePrograms[0]?.received).toBe(8 * KIB);
  });
});

describe('before OPENED', () => {
  it('the device sends nothing of the connection, whatever its program does', () => {
    const world = new World(1);
    const end = new BareDevice(world, {}, ({ connection }) => {
      connection.write(new Uint8Array(10));
      connection.end();
    });
    const peer = scriptedService(world, end.sessions, identity(world));
    peer.send(FRAME.open, 1, openPayload('a'));
    peer.send(FRAME.data, 1, new Uint8Array(8 * KIB));
    world.run(100);
    // Even where the window is small, what is consumed early renews no limit before OPENED.
    end.at(0).connection.consumed(8 * KIB);
    world.run(200);
    const counted = peer.frames.filter(({ id }) => id === 1);
    expect(counted).toEqual([]);
    end.at(0).connection.accept();
    world.run(300);
    expect(peer.frames.filter(({ id }) => id === 1).map(({ type }) => type)).toEqual([
      FRAME.opened,
      FRAME.data,
      FRAME.end,
    ]);
  });

  it('a small window is not renewed either, and no END goes in its stead', () => {
    const world = new World(1);
    const end = new BareDevice(world, { budgetBytes: 0 }, () => undefined);
    const peer = scriptedService(world, end.sessions, identity(world));
    peer.send(FRAME.open, 1, openPayload('a'));
    peer.send(FRAME.data, 1, new Uint8Array(8 * KIB));
    world.run(100);
    end.at(0).connection.end();
    end.at(0).connection.consumed(8 * KIB);
    world.run(200);
    expect(peer.frames.filter(({ id }) => id === 1)).toEqual([]);
    end.at(0).connection.accept();
    world.run(300);
    expect(readUint32(peer.of(FRAME.opened)[0]?.payload as Uint8Array, 0)).toBe(16 * KIB);
  });
});

describe('control frames', () => {
  it('go before the data of the same turn', () => {
    const world = new World(1);
    const end = new BareDevice(world, {}, ({ connection }) => {
      end.at(0).connection.write(new Uint8Array(100));
      connection.accept();
    });
    const peer = scriptedService(world, end.sessions, identity(world));
    peer.send(FRAME.open, 1, openPayload('a'));
    world.run(100);
    peer.send(FRAME.open, 3, openPayload('b'));
    world.run(200);
    const order = peer.frames.filter(({ id }) => id > 0).map(({ type, id }) => [type, id]);
    expect(order.slice(-2)).toEqual([
      [FRAME.opened, 3],
      [FRAME.data, 1],
    ]);
  });

  it('are written when the ring is full of data: 64 KiB are left to them', () => {
    const world = new World(1);
    // A budget for one window and a ring of 1 MiB; a long link, so that much may be in flight.
    const budget = new Budget(256 * KIB + MIB - FREE_RING_BYTES);
    const peer = new ScriptedDevice(world, { wire: { delayMs: 200 }, session: { budget } });
    const program = new Program(world, 0, 0, 20 * MIB);
    const connection = peer.session.open('bulk', program);
    world.run(1_000);
    const limit = new Uint8Array(4).fill(0xff);
    peer.link.send(FRAME.opened, 1, limit);
    if (connection !== undefined) program.start(connection);
    world.run(10_000, () => program.sent > 10 * MIB);
    peer.link.acknowledges = false;
    world.run(world.now + 5_000);
    const sent = program.sent;
    world.run(world.now + 5_000);
    // Full: nothing more moves.
    expect(program.sent).toBe(sent);
    for (let index = 0; index < 300; index++) peer.session.open('x'.repeat(100), new Program(world, index, 0, 0));
    world.run(world.now + 1_000);
    expect(peer.link.of(FRAME.open)).toHaveLength(301);
    // Those too are full some time; what remains waits for an acknowledgement.
    for (let index = 0; index < 600; index++) peer.session.open('x'.repeat(100), new Program(world, index, 0, 0));
    world.run(world.now + 1_000);
    expect(peer.link.of(FRAME.open).length).toBeLessThan(700);
    peer.link.acknowledges = true;
    peer.link.send(FRAME.ack, 0, encodeUint64(peer.link.received));
    world.run(world.now + 5_000);
    expect(peer.link.of(FRAME.open)).toHaveLength(901);
    expect(peer.end).toBeUndefined();
  });

  it('are kept once for each connection: the newest limit is sent', () => {
    const { world, end, peer, run } = device(1);
    for (let sent = 0; sent < 256 * KIB; sent += 32 * KIB) peer.send(FRAME.data, 1, new Uint8Array(32 * KIB));
    run(100);
    end.at(0).connection.consumed(160 * KIB);
    end.at(0).connection.consumed(96 * KIB);
    world.run(world.now + 100);
    expect(peer.of(FRAME.limit)).toHaveLength(1);
    expect(readUint64(peer.of(FRAME.limit)[0]?.payload as Uint8Array, 0)).toBe(416 * KIB);
  });
});

describe('the acknowledgement', () => {
  it('of little comes after 25 ms, though nothing else is sent: two full rings would wait for each other', () => {
    const world = new World(1);
    const end = new BareDevice(world, {}, () => undefined);
    const peer = scriptedService(world, end.sessions, identity(world));
    world.run(100);
    peer.send(FRAME.open, 1, openPayload('a'));
    world.run(1_000);
    const [ack] = peer.of(FRAME.ack);
    expect(ack?.at).toBe(100 + 5 + 25 + 5);
    expect(readUint64(ack?.payload as Uint8Array, 0)).toBe(8 + 5);
  });

  it('comes 25 ms after the first byte, though more and more follow', () => {
    const world = new World(1);
    const end = new BareDevice(world, {}, () => undefined);
    const peer = scriptedService(world, end.sessions, identity(world));
    world.run(100);
    for (let index = 0; index < 20; index++) {
      peer.send(FRAME.open, 1 + 2 * index, openPayload('a'));
      world.run(world.now + 10);
    }
    world.run(400);
    expect(peer.of(FRAME.ack).map(({ at }) => at)).toEqual([135, 165, 195, 225, 255, 285, 315]);
  });

  it('of what follows an acknowledgement that went with other frames comes 25 ms later too', () => {
    const world = new World(1);
    const end = new BareDevice(world, {}, ({ connection }) => connection.accept());
    const peer = scriptedService(world, end.sessions, identity(world));
    world.run(100);
    peer.send(FRAME.open, 1, openPayload('a'));
    world.run(115);
    peer.send(FRAME.data, 1, new Uint8Array(1));
    world.run(400);
    expect(peer.of(FRAME.ack).map(({ at, payload }) => [at, readUint64(payload, 0)])).toEqual([
      [110, 8 + 5],
      [120 + 25 + 5, 8 + 5 + 8 + 1],
    ]);
  });

  it.each([
    ['16 KiB on a slow link', 1_000, 16 * KIB],
    ['64 KiB on a fast one', 40_000, 64 * KIB],
    ['256 KiB on a very fast one', 100_000, 256 * KIB],
  ])('comes each %s', (_what, rate, step) => {
    const world = new World(1);
    const end = new BareDevice(world, {}, (opened) => {
      opened.connection.accept();
      opened.data = (bytes) => {
        opened.received += bytes.length;
        opened.connection.consumed(bytes.length);
      };
    });
    const peer = scriptedService(world, end.sessions, identity(world), 1, { wire: { rate } });
    peer.send(FRAME.open, 1, openPayload('a'));
    let sent = 0;
    let limit = 0;
    const more = (): void => {
      limit = peer.of(FRAME.limit).reduce((most, { payload }) => Math.max(most, readUint64(payload, 0)), 256 * KIB);
      for (; sent + 4 * KIB <= limit && sent < 30 * rate * 100; sent += 4 * KIB)
        peer.send(FRAME.data, 1, new Uint8Array(4 * KIB));
      if (sent < 30 * rate * 100) world.setTimer(1, more);
    };
    more();
    world.run(3_000);
    const acks = peer.of(FRAME.ack).map(({ payload }) => readUint64(payload, 0));
    const steps = acks.slice(1).map((ack, index) => ack - (acks[index] as number));
    const middle = steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] as number;
    expect(middle).toBeGreaterThanOrEqual(step);
    expect(middle).toBeLessThan(step + 8 * KIB);
  });
});

describe('a stalled program', () => {
  it.each([
    ['at the device', [true, false]],
    ['at the service side', [false, true]],
    ['at both ends, in opposite directions,', [true, true]],
  ])('%s blocks itself and nobody else', (_where, [isDeviceDeaf, isServiceDeaf]) => {
    const pair = new Pair(new World(1), {
      answerBytes: () => 2 * MIB,
      target: (connection, program) => {
        program.isDeaf = connection.service === 'stalled' && isDeviceDeaf === true;
        connection.accept();
        program.start(connection);
      },
    });
    pair.session.start();
    const stalled = Array.from({ length: 10 }, () => {
      const program = pair.open('stalled', 2 * MIB);
      program.isDeaf = isServiceDeaf === true;
      return program;
    });
    const others = Array.from({ length: 3 }, () => pair.open('free', MIB));
    pair.world.run(20 * 60_000, () => others.every(({ isOver }) => isOver));
    for (const program of others)
      expect(program).toMatchObject({ fault: undefined, abortion: undefined, peerEnded: true });
    expect(stalled.some(({ isOver }) => isOver)).toBe(false);
    for (const program of stalled) program.listen();
    for (const program of pair.devicePrograms) program.listen();
    pair.world.run(60 * 60_000, () => stalled.every(({ isOver }) => isOver), 8_000_000);
    for (const program of stalled)
      expect(program).toMatchObject({ fault: undefined, abortion: undefined, received: 2 * MIB });
  });
});

describe('a program that writes without a link', () => {
  it('may write 64 KiB ahead, then waits for drained, and a keystroke does not stand behind it afterwards', () => {
    const world = new World(1);
    const peer = new ScriptedDevice(world);
    const [bulk, key] = [new Program(world, 0, 0, 10), new Program(world, 1, 0, 10)];
    const [bulkConnection, keyConnection] = [peer.session.open('bulk', bulk), peer.session.open('key', key)];
    world.run(100);
    for (const id of [1, 3]) peer.link.send(FRAME.opened, id, new Uint8Array(4).fill(0xff));
    world.run(200);
    peer.link.lose();
    world.run(201);
    expect(bulkConnection?.write(new Uint8Array(65_535))).toBe(true);
    expect(bulkConnection?.write(new Uint8Array(1))).toBe(false);
    keyConnection?.write(new Uint8Array(1));
    world.run(1_000);
    expect(peer.links).toHaveLength(2);
    const data = peer.link.of(FRAME.data);
    expect(data[0]).toMatchObject({ id: 3 });
    expect(data.filter(({ id }) => id === 1).reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_536);
  });
});

it('takes a LIMIT that repeats the former one', () => {
  const { world, end, peer, run } = device(1);
  peer.send(FRAME.data, 1, new Uint8Array(32 * KIB));
  run(100);
  for (const limit of [UNLIMITED, UNLIMITED]) peer.send(FRAME.limit, 1, encodeUint64(limit));
  world.run(world.now + 100);
  expect(end.ends).toEqual([]);
});

describe('the memory of what is unacknowledged', () => {
  it('is 128 KiB for each session, and beyond that taken from the budget of all', () => {
    const budget = new Budget(MIB);
    const [rich, poor] = [new ReplayRing(MIB, budget), new ReplayRing(MIB, budget)];
    const piece = new Uint8Array(KIB);
    const fill = (ring: ReplayRing): number => {
      let bytes = 0;
      for (; ring.free >= piece.length; bytes += piece.length) ring.append(piece);
      return bytes;
    };
    // The other 128 KiB of the budget do not suffice for doubling the second ring and the first 128 KiB of each are free.
    expect([fill(rich), rich.memory]).toEqual([MIB, MIB]);
    expect([fill(poor), poor.memory, budget.free]).toEqual([256 * KIB, 256 * KIB, 0]);
    rich.release(rich.end);
    rich.trim();
    expect([fill(poor), poor.memory, budget.free]).toEqual([768 * KIB, MIB, 128 * KIB]);
    poor.release(poor.end);
    poor.trim();
    expect(budget.free).toBe(MIB);
  });

  it.each([
    ['a rich device', 64 * MIB, 200 * KIB, 256 * KIB],
    // The windows of the first eight connections use it up.
    ['a poor device', 2 * MIB, 32 * KIB, 64 * KIB],
  ])('bounds what sessions of %s send that nobody acknowledges', (_what, budgetBytes, least, most) => {
    const world = new World(1);
    const end = new BareDevice(world, { budgetBytes }, ({ connection }) => {
      connection.accept();
      while (connection.write(new Uint8Array(16 * KIB)));
    });
    const peers = Array.from({ length: 16 }, () => {
      const peer = scriptedService(world, end.sessions, identity(world));
      peer.acknowledges = false;
      peer.send(FRAME.open, 1, openPayload('a', 4 * MIB));
      return peer;
    });
    for (let round = 0; round < 20; round++) {
      world.run(world.now + 1_000);
      for (const { connection } of end.opened) while (connection.write(new Uint8Array(16 * KIB)));
    }
    const sent = peers.map((peer) => peer.of(FRAME.data).reduce((sum, { payload }) => sum + payload.length, 0));
    expect(Math.min(...sent.slice(8))).toBeGreaterThanOrEqual(least);
    expect(Math.max(...sent.slice(8))).toBeLessThanOrEqual(most);
    end.sessions.close('');
    expect(end.sessions.freeBytes).toBe(budgetBytes);
  });
});
