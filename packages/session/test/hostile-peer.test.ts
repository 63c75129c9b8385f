import { describe, expect, it } from 'vitest';
import { CONNECTION_REASONS, encodeFrame, encodeUint64, FRAME, HEADER_BYTES } from '../src/core/frame.ts';
import { BareDevice } from './bare-device.ts';
import { byePayload, identity, openPayload, ScriptedDevice, scriptedService } from './scripted-peer.ts';
import { World } from './virtual-world.ts';

/** A device and a peer whose frames the test writes. */
function attack(
  onOpened?: ConstructorParameters<typeof BareDevice>[2],
  options: Parameters<typeof scriptedService>[4] = {},
) {
  const world = new World(1);
  const end = new BareDevice(world, {}, onOpened);
  const peer = scriptedService(world, end.sessions, identity(world), 1, options);
  const run = (ms: number): void => void world.run(world.now + ms);
  run(100);
  return { world, end, peer, run };
}

describe('a flood', () => {
  it('of OPEN and RESET is limited to 200 a second after 1,000, and answered connections are not', () => {
    const { end, peer, run } = attack(() => undefined);
    let id = 1;
    const flood = (count: number): void => {
      for (let index = 0; index < count; index++, id += 2) {
        peer.send(FRAME.open, id, openPayload('a'));
        peer.send(FRAME.reset, id, Uint8Array.of(0));
      }
    };
    flood(1_500);
    run(50);
    expect(end.opened.length).toBeGreaterThanOrEqual(1_000);
    expect(end.opened.length).toBeLessThanOrEqual(1_000 + 200 * 0.05);
    expect(new Set(peer.of(FRAME.refused).map(({ payload }) => payload[0]))).toEqual(
      new Set([CONNECTION_REASONS.too_many]),
    );
    const before = end.opened.length;
    run(1_000);
    flood(1_000);
    run(50);
    expect(end.opened.length - before).toBeGreaterThanOrEqual(200);
    expect(end.opened.length - before).toBeLessThanOrEqual(230);
    expect(end.ends).toEqual([]);
  });

  it('of connections that are answered before their RESET is not limited', () => {
    const { end, peer, run } = attack();
    for (let index = 0; index < 3_000; index++) {
      const id = 1 + 2 * index;
      peer.send(FRAME.open, id, openPayload('a'));
      peer.send(FRAME.reset, id, Uint8Array.of(0));
    }
    run(100);
    expect(end.opened).toHaveLength(3_000);
    expect(end.ends).toEqual([]);
  });

  it('of connections whose refusals are never acknowledged ends the session after 2,000 unwritten ones', () => {
    const { end, peer, run } = attack(({ connection }) => connection.refuse('refused', 'x'.repeat(256)));
    let id = 1;
    const open = (count: number): void => {
      for (let index = 0; index < count; index++, id += 2) peer.send(FRAME.open, id, openPayload('a'));
      run(100);
    };
    // Before the first acknowledgement no more than 512 KiB would be sent.
    open(1);
    peer.acknowledges = false;
    // 1 MiB holds about 116,000 refusals without text, and more than 3,500 with it.
    for (let round = 0; round < 120 && end.ends.length === 0; round++) open(1_000);
    expect(end.ends).toMatchObject([{ reason: 'protocol', byPeer: false }]);
    expect(end.ends[0]?.text).toMatch(/more answers/);
    expect(peer.of(FRAME.bye)).toHaveLength(1);
  });

  it('of refusals has texts of 16 KiB at once and no more', () => {
    const { peer, run } = attack(({ connection }) => connection.refuse('refused', 'x'.repeat(256)));
    const opens = Array.from({ length: 200 }, (_, index) => encodeFrame(FRAME.open, 1 + 2 * index, openPayload('a')));
    peer.write(Buffer.concat(opens));
    run(100);
    const refusals = peer.of(FRAME.refused);
    expect(refusals).toHaveLength(200);
    expect(refusals.filter(({ payload }) => payload.length === 257)).toHaveLength(64);
    expect(refusals.filter(({ payload }) => payload.length === 1)).toHaveLength(136);
    // Those texts are sent; later refusals have some again.
    peer.send(FRAME.open, 401, openPayload('a'));
    run(100);
    expect(peer.of(FRAME.refused).at(-1)?.payload).toHaveLength(257);
  });

  it('of PINGs is answered ten times a second', () => {
    const { peer, run, end } = attack();
    for (let index = 0; index < 2_000; index++) {
      peer.send(FRAME.ping, 0, new Uint8Array(8));
      run(1);
    }
    expect(peer.of(FRAME.pong).length).toBeGreaterThanOrEqual(19);
    expect(peer.of(FRAME.pong).length).toBeLessThanOrEqual(21);
    expect(end.ends).toEqual([]);
  });

  it('of PINGs from a peer that does not read has one answer pending', () => {
    const { peer, run } = attack();
    let writes = 0;
    // The transport passes nothing on.
    peer.wire.ends[1].write = () => {
      writes++;
    };
    for (let index = 0; index < 100; index++) {
      peer.send(FRAME.ping, 0, new Uint8Array(8));
      run(100);
    }
    expect(writes).toBe(1);
  });

  it('of data from a peer that does not read leaves at most 1,024 acknowledgements in the transport', () => {
    const { peer, run, end } = attack((opened) => {
      opened.connection.accept();
      opened.data = (bytes) => opened.connection.consumed(bytes.length);
    });
    let writes = 0;
    peer.wire.ends[1].write = () => {
      writes++;
    };
    let id = 1;
    for (let index = 0; index < 3_000; index++, id += 2) {
      peer.send(FRAME.open, id, openPayload('a'));
      peer.send(FRAME.data, id, new Uint8Array(16_384));
      peer.send(FRAME.reset, id, Uint8Array.of(0));
      run(30);
    }
    expect(end.opened).toHaveLength(3_000);
    expect(writes).toBe(1_024);
  });

  it('of opened, answered and reset connections leaves nothing behind while the ring is full', () => {
    const { peer, run, end } = attack(({ connection }) => {
      connection.accept();
      connection.write(new Uint8Array(60_000));
    });
    peer.acknowledges = false;
    for (let index = 0; index < 2_000; index++) {
      peer.send(FRAME.open, 1 + 2 * index, openPayload('a', 1_000_000));
      peer.send(FRAME.reset, 1 + 2 * index, Uint8Array.of(0));
    }
    run(1_000);
    expect(end.sessions.connections).toBe(0);
    expect(end.sessions.sessions[0]?.queued).toBeLessThan(200);
  });
});

describe('frames for connections that are over', () => {
  it('are dropped and counted: DATA, END, LIMIT and RESET that crossed the end', () => {
    const { peer, run, end } = attack();
    peer.send(FRAME.open, 1, openPayload('a'));
    run(50);
    end.at(0).connection.abort('reset');
    peer.send(FRAME.data, 1, new Uint8Array(1_000));
    peer.send(FRAME.limit, 1, encodeUint64(10));
    peer.send(FRAME.end, 1);
    peer.send(FRAME.reset, 1, Uint8Array.of(0));
    run(50);
    expect(end.ends).toEqual([]);
    expect(end.sessions.sessions[0]?.droppedFrames).toBe(4);
    expect(peer.of(FRAME.ack).length).toBeGreaterThan(0);
  });
});

describe('before the proof', () => {
  it('one HELLO is taken', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true });
    second.write(second.ownHello);
    world.run(200);
    expect([second.isClosed, first.isClosed]).toEqual([true, false]);
    // On the current link it is the peer's own fault.
    first.write(first.ownHello);
    world.run(300);
    expect(end.ends).toMatchObject([{ reason: 'protocol' }]);
  });

  it('64 KiB are read, then the link is dropped', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true });
    // Frames of a later version, which would be ignored.
    for (let sent = 0; sent < 80 * 1_024; sent += 1_032) second.send(0xc6, 0, new Uint8Array(1_024));
    world.run(200);
    expect([second.isClosed, first.isClosed]).toEqual([true, false]);
    expect(end.refusedLinks.join()).toMatch(/Too many bytes before the proof/);
  });

  it.each([
    ['an ACK', FRAME.ack, new Uint8Array(8)],
    ['an OPEN', FRAME.open, openPayload('a')],
    ['a PING', FRAME.ping, new Uint8Array(8)],
  ])('%s costs the link, not the session', (_what, type, payload) => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2, { isSilent: true });
    second.send(type, 0, payload);
    world.run(200);
    expect([second.isClosed, first.isClosed]).toEqual([true, false]);
    expect(end.ends).toEqual([]);
  });

  it('a PROOF without a HELLO costs the link', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, {
      answer: (link) => link.send(FRAME.proof, 0, new Uint8Array(32)),
    });
    world.run(100);
    expect(device.refusedLinks[0]).toMatch(/PROOF is not expected/);
    expect(device.end).toBeUndefined();
  });
});

describe('a session changes its link', () => {
  it('five times a second, and goes on afterwards', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    scriptedService(world, end.sessions, who);
    world.run(2_000);
    const links = Array.from({ length: 10 }, (_, index) => {
      const link = scriptedService(world, end.sessions, who, 2 + index);
      world.run(world.now + 30);
      return link;
    });
    world.run(world.now + 100);
    expect(links.map(({ isClosed }) => isClosed)).toEqual([
      true,
      true,
      true,
      true,
      false,
      true,
      true,
      true,
      true,
      true,
    ]);
    expect(end.refusedLinks.join()).toMatch(/too often/);
    world.run(world.now + 1_000);
    const late = scriptedService(world, end.sessions, who, 20);
    world.run(world.now + 100);
    expect([late.isClosed, links[4]?.isClosed]).toEqual([false, true]);
  });

  it('while at most 32 links wait for their proof', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    scriptedService(world, end.sessions, who);
    world.run(100);
    const links = Array.from({ length: 40 }, () => scriptedService(world, end.sessions, who, 2, { isSilent: true }));
    world.run(200);
    expect(links.filter(({ isClosed }) => isClosed)).toHaveLength(8);
    world.run(20_000);
    expect(links.filter(({ isClosed }) => isClosed)).toHaveLength(40);
    expect(end.sessions.sessions[0]?.isUp).toBe(true);
  });
});

describe('comes with `protocol` at the device after', () => {
  it.each<[string, Uint8Array]>([
    [
      'an ACK that goes back',
      Buffer.concat([encodeFrame(FRAME.ack, 0, encodeUint64(12)), encodeFrame(FRAME.ack, 0, encodeUint64(0))]),
    ],
    ['an ACK of 7 bytes', encodeFrame(FRAME.ack, 0, new Uint8Array(7))],
    ['a PING of 9 bytes', encodeFrame(FRAME.ping, 0, new Uint8Array(9))],
    ['an unknown type of the session', encodeFrame(0x46, 0)],
    ['type 0', encodeFrame(0, 1)],
    ['OPENED from the service side', encodeFrame(FRAME.opened, 1, new Uint8Array(4))],
    ['REFUSED from the service side', encodeFrame(FRAME.refused, 1, new Uint8Array(1))],
    ['OPEN with an even id', encodeFrame(FRAME.open, 4, openPayload('a'))],
    ['OPEN of connection 0', encodeFrame(FRAME.open, 0, openPayload('a'))],
    ['OPEN beyond 2^31', encodeFrame(FRAME.open, 0x80000001, openPayload('a'))],
    ['OPEN with a name of 129 bytes', encodeFrame(FRAME.open, 3, openPayload('x'.repeat(129)))],
    ['OPEN without a limit', encodeFrame(FRAME.open, 3, new Uint8Array(3))],
    ['END with a payload', encodeFrame(FRAME.end, 1, new Uint8Array(1))],
    ['a second END', Buffer.concat([encodeFrame(FRAME.end, 1), encodeFrame(FRAME.end, 1)])],
    ['DATA after END', Buffer.concat([encodeFrame(FRAME.end, 1), encodeFrame(FRAME.data, 1, new Uint8Array(1))])],
    ['LIMIT of 4 bytes', encodeFrame(FRAME.limit, 1, new Uint8Array(4))],
    ['RESET without a reason', encodeFrame(FRAME.reset, 1)],
    ['a RESET of 300 bytes', encodeFrame(FRAME.reset, 1, new Uint8Array(300))],
    ['DATA for connection 0', encodeFrame(FRAME.data, 0, new Uint8Array(1))],
    ['BYE of 4 bytes', encodeFrame(FRAME.bye, 0, new Uint8Array(4))],
    ['a frame of 65,529 bytes', encodeFrame(FRAME.data, 1, new Uint8Array(65_529))],
  ])('%s', (_what, bytes) => {
    const { peer, run, end } = attack();
    peer.send(FRAME.open, 1, openPayload('a'));
    run(50);
    peer.write(bytes);
    run(50);
    expect(end.ends).toMatchObject([{ reason: 'protocol', byPeer: false }]);
    expect(peer.of(FRAME.bye)[0]?.payload[0]).toBe(5);
    expect(end.at(0).abortion).toBe('reset');
    expect(end.sessions.size).toBe(0);
  });

  it('nothing that a newer version may send', () => {
    const { peer, run, end } = attack();
    const unknown = encodeFrame(0x87, 7, new Uint8Array(1_000));
    peer.write(unknown);
    peer.send(FRAME.open, 1, openPayload('a'));
    run(100);
    // An unknown type without the bit of the uncounted ones is counted.
    expect(end.opened).toHaveLength(1);
    const acks = peer.of(FRAME.ack).map(({ payload }) => new DataView(payload.buffer).getUint32(4));
    expect(acks.at(-1)).toBe(unknown.length + HEADER_BYTES + 5);
  });
});

describe('comes with `protocol` at the service side after', () => {
  it.each<[string, Uint8Array]>([
    ['OPEN from the device', encodeFrame(FRAME.open, 3, openPayload('a'))],
    ['DATA before OPENED', encodeFrame(FRAME.data, 1, new Uint8Array(1))],
    ['END before OPENED', encodeFrame(FRAME.end, 1)],
    ['OPENED twice', Buffer.concat([1, 2].map(() => encodeFrame(FRAME.opened, 1, new Uint8Array(4))))],
    ['OPENED of 5 bytes', encodeFrame(FRAME.opened, 1, new Uint8Array(5))],
    ['REFUSED without a reason', encodeFrame(FRAME.refused, 1)],
    ['DATA for an id that was never opened', encodeFrame(FRAME.data, 3, new Uint8Array(1))],
  ])('%s', (_what, bytes) => {
    const world = new World(1);
    const device = new ScriptedDevice(world);
    let abortion: string | undefined;
    device.session.open('a', {
      data: () => undefined,
      ended: () => undefined,
      drained: () => undefined,
      aborted: (reason) => {
        abortion = reason;
      },
    });
    world.run(100);
    device.link.write(bytes);
    world.run(200);
    expect(device.end).toMatchObject({ reason: 'protocol', byPeer: false });
    expect(abortion).toBe('reset');
    expect(device.link.of(FRAME.bye)[0]?.payload[0]).toBe(5);
  });

  it('nothing of a link that is no longer the current one', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world, { wire: { delayMs: 50 } });
    world.run(300);
    const old = device.link;
    device.session.open('a', {
      data: () => undefined,
      ended: () => undefined,
      drained: () => undefined,
      aborted: () => undefined,
    });
    world.run(320);
    // Under way when the service side drops the link.
    old.send(FRAME.bye, 0, byePayload(0));
    device.session.replaceLink();
    world.run(1_000);
    expect(device.end).toBeUndefined();
    expect(device.session.isUp).toBe(true);
    expect(device.links).toHaveLength(2);
  });
});
