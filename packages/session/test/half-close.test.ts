import { describe, expect, it } from 'vitest';
import type { ConnectionReason } from '../src/core/frame.ts';
import { BareDevice } from './bare-device.ts';
import { Pair, type PairOptions } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

const DAY = 24 * 3_600_000;

function start(options: PairOptions = {}): Pair {
  const pair = new Pair(new World(1), options);
  pair.session.start();
  return pair;
}

describe('the end of one direction', () => {
  it('comes after all its bytes, and the other goes on for as long as the programs like', () => {
    const pair = start({
      answerBytes: () => 300_000,
      target: (connection, program) => {
        connection.accept();
        program.isStalled = true;
        program.start(connection);
      },
    });
    const program = pair.open('a', 8_388_608);
    pair.world.run(60_000);
    const device = pair.devicePrograms[0];
    expect(device).toMatchObject({ received: 8_388_608, peerEnded: true });
    expect(program.isOver).toBe(false);
    // PINGs keep the link; nobody sends anything else.
    pair.world.run(DAY, undefined, 10_000_000);
    expect(program).toMatchObject({ isOver: false, peerEnded: false });
    if (device !== undefined) device.isStalled = false;
    device?.drained();
    pair.world.run(pair.world.now + 60_000);
    expect(program).toMatchObject({ received: 300_000, peerEnded: true, finishedCount: 1, abortion: undefined });
    expect(device).toMatchObject({ finishedCount: 1, abortion: undefined });
  });

  it('may come at both ends at once, also without a byte', () => {
    for (const bytes of [0, 100_000]) {
      const pair = start({ answerBytes: () => bytes });
      const programs = [pair.open('a', bytes), pair.open('b', bytes)];
      pair.world.run(10_000);
      for (const program of [...programs, ...pair.devicePrograms])
        expect(program).toMatchObject({ received: bytes, finishedCount: 1, fault: undefined });
      expect([pair.session.size, pair.device.connections]).toEqual([0, 0]);
    }
  });

  it('survives a loss of the link between it and the end of the other direction', () => {
    const pair = start({
      answerBytes: () => 1_000,
      target: (connection, program) => {
        connection.accept();
        pair.world.setTimer(30_000, () => program.start(connection));
      },
    });
    const program = pair.open('a', 1_000);
    pair.world.run(10_000);
    pair.wire.cut([0, 0]);
    pair.world.run(60_000);
    expect(program).toMatchObject({ received: 1_000, finishedCount: 1, abortion: undefined });
  });

  it('that is queued behind data of a slow reader loses nothing', () => {
    const pair = start({
      answerBytes: () => 0,
      target: (connection, program) => {
        program.isDeaf = true;
        connection.accept();
        program.start(connection);
      },
    });
    const program = pair.open('a', 2_000_000);
    pair.world.run(5_000);
    expect(program.peerEnded).toBe(true);
    expect(program.isOver).toBe(false);
    pair.devicePrograms[0]?.listen();
    pair.world.run(10_000);
    expect(pair.devicePrograms[0]).toMatchObject({ received: 2_000_000, finishedCount: 1, abortion: undefined });
    expect(program.finishedCount).toBe(1);
  });
});

describe('an abortion', () => {
  it.each<[ConnectionReason]>([['reset'], ['timed_out'], ['out_of_memory'], ['going_away'], ['not_permitted']])(
    '%s reaches the other end with its reason, and a write to it stalls nobody',
    (reason) => {
      const pair = start({
        target: (connection, program) => {
          connection.accept();
          pair.world.setTimer(500, () => program.connection?.abort(reason));
        },
      });
      const program = pair.open('a', 50_000_000);
      const other = pair.open('b', 10);
      pair.world.run(60_000);
      for (const each of [program, other])
        expect(each).toMatchObject({ abortion: { reason, isRefusal: false }, finishedCount: 0 });
      expect(pair.session.size).toBe(0);
      expect(pair.serviceEnd).toBeUndefined();
    },
  );

  it('by the service side reaches the device, also before the device has answered', () => {
    const pair = start({ target: () => undefined });
    const program = pair.open('a', 10);
    pair.world.run(1_000);
    program.connection?.abort('reset');
    pair.world.run(2_000);
    expect(pair.devicePrograms[0]?.abortion).toMatchObject({ reason: 'reset' });
    expect(pair.device.connections).toBe(0);
  });

  it('before OPEN was sent says nothing to the device, and the next connection works', () => {
    const pair = start({ answerBytes: () => 10 });
    const program = pair.open('a', 10);
    program.connection?.abort('reset');
    const next = pair.open('b', 10);
    pair.world.run(5_000);
    expect(pair.devicePrograms[0]).toBeUndefined();
    expect(next).toMatchObject({ peerEnded: true, finishedCount: 1 });
  });

  it('while there is no link reaches the other end after the resume', () => {
    const pair = start({ target: (connection) => connection.accept() });
    const program = pair.open('a', 10);
    pair.world.run(1_000);
    pair.wire.cut([0, 0]);
    pair.world.run(1_001);
    program.connection?.abort('reset');
    pair.world.run(10_000);
    expect(pair.devicePrograms[0]?.abortion).toMatchObject({ reason: 'reset' });
  });

  it('crosses a limit of the peer without harm', () => {
    const pair = start({ answerBytes: () => 3_000_000, wire: { delayMs: 100 } });
    const program = pair.open('a', 3_000_000);
    pair.world.run(1_500, () => program.received > 500_000);
    program.connection?.abort('reset');
    pair.world.run(10_000);
    expect([pair.serviceEnd, pair.deviceEnd]).toEqual([undefined, undefined]);
  });
});

describe('a refusal', () => {
  it.each<[ConnectionReason]>([['refused'], ['unreachable'], ['timed_out'], ['not_offered'], ['too_many']])(
    '%s reaches the program with its reason and words',
    (reason) => {
      const pair = start({ target: (connection) => connection.refuse(reason, 'Words of the device, ü.') });
      const program = pair.open('a', 10);
      pair.world.run(1_000);
      expect(program.abortion).toEqual({ reason, text: 'Words of the device, ü.', isRefusal: true });
    },
  );

  it('has at most 256 bytes of text, cut between characters', () => {
    const pair = start({ target: (connection) => connection.refuse('refused', `x${'ü'.repeat(200)}`) });
    const program = pair.open('a', 10);
    pair.world.run(1_000);
    expect(program.abortion?.text).toBe(`x${'ü'.repeat(127)}`);
  });

  it('comes once, and what follows it is not sent', () => {
    const world = new World(1);
    const pair = start({
      target: (connection) => {
        connection.refuse('refused');
        connection.accept();
        connection.abort();
        connection.refuse('timed_out');
        connection.write(new Uint8Array(1));
        connection.end();
      },
    });
    const program = pair.open('a', 10);
    pair.world.run(1_000);
    expect(program.abortion?.reason).toBe('refused');
    expect(program.fault).toBeUndefined();
    expect(new BareDevice(world).sessions.size).toBe(0);
  });
});

describe('one target that never answers', () => {
  it('holds up no other connection', () => {
    const pair = start({
      answerBytes: () => 10,
      target: (connection, program) => {
        if (connection.service === 'black-hole') return;
        connection.accept();
        program.start(connection);
      },
    });
    for (let index = 0; index < 500; index++) pair.open('black-hole', 10_000);
    const program = pair.open('a', 100_000);
    pair.world.run(5_000);
    expect(program).toMatchObject({ received: 10, finishedCount: 1 });
  });
});
