import { describe, expect, it } from 'vitest';
import { CONNECTION_REASONS, FRAME, SESSION_REASONS } from '../src/core/frame.ts';
import { BareDevice } from './bare-device.ts';
import { identity, openPayload, ScriptedDevice, type ScriptedLink, scriptedService } from './scripted-peer.ts';
import { Pair } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

const MINUTE = 60_000;

/** The reason of the BYE on a link, by its name. */
function byeReason(link: ScriptedLink): string | undefined {
  const code = link.of(FRAME.bye)[0]?.payload[0];
  return Object.entries(SESSION_REASONS).find(([, value]) => value === code)?.[0];
}

describe('the sessions of a device', () => {
  it('are 256, and a new one takes the place of the same caller’s oldest without a link', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const callers = Array.from({ length: 256 }, (_, index) => identity(world, index < 3 ? 'policy:a' : 'policy:b'));
    const links = callers.map((who) => scriptedService(world, end.sessions, who));
    world.run(100);
    expect(end.sessions.size).toBe(256);
    // All are attached: there is no place, for nobody.
    const refused = scriptedService(world, end.sessions, identity(world, 'policy:a'));
    world.run(200);
    expect(byeReason(refused)).toBe('too_many');
    expect(refused.of(FRAME.proof)).toHaveLength(1);
    // Losing a link ends nothing by itself; the oldest goes when the place is needed.
    links[1]?.lose();
    world.run(300);
    links[0]?.lose();
    links[200]?.lose();
    world.run(400);
    expect(end.sessions.size).toBe(256);
    const taken = scriptedService(world, end.sessions, identity(world, 'policy:a'));
    world.run(500);
    expect(byeReason(taken)).toBeUndefined();
    expect(end.ends).toMatchObject([{ reason: 'expired' }]);
    const late = [0, 1, 200].map((index) =>
      scriptedService(world, end.sessions, callers[index] as (typeof callers)[0], 2),
    );
    world.run(600);
    expect(late.map(byeReason)).toEqual([undefined, 'expired', undefined]);
    // There is one without a link, but of another caller.
    late[2]?.lose();
    world.run(650);
    const other = scriptedService(world, end.sessions, identity(world, 'policy:c'));
    world.run(700);
    expect(byeReason(other)).toBe('too_many');
  });

  it('that expired are remembered for an hour, 1,024 of them, and answered with `expired`', () => {
    const world = new World(1);
    const end = new BareDevice(world, { retentionSeconds: 1 });
    const all = Array.from({ length: 1_030 }, () => identity(world));
    for (const who of all) {
      const link = scriptedService(world, end.sessions, who);
      world.run(world.now + 30);
      link.lose();
    }
    world.run(world.now + 2_000);
    expect(end.sessions.size).toBe(0);
    const ask = (index: number): string | undefined => {
      const link = scriptedService(world, end.sessions, all[index] as (typeof all)[0], 2);
      world.run(world.now + 50);
      return byeReason(link);
    };
    expect([ask(0), ask(5), ask(6), ask(1_029)]).toEqual(['unknown', 'unknown', 'expired', 'expired']);
    world.run(world.now + 60 * MINUTE);
    expect(ask(1_029)).toBe('unknown');
  });

  it('share one budget: when it is used up connections have small windows, and all comes back', () => {
    const world = new World(1);
    const end = new BareDevice(world, { budgetBytes: 1_048_576 });
    const limit = (link: ScriptedLink): number[] =>
      link.of(FRAME.opened).map(({ payload }) => new DataView(payload.buffer).getUint32(0));
    const links = [1, 2].map(() => scriptedService(world, end.sessions, identity(world)));
    for (const link of links)
      for (let index = 0; index < 3; index++) link.send(FRAME.open, 1 + 2 * index, openPayload('a'));
    world.run(100);
    expect(links.map(limit)).toEqual([
      [262_144, 262_144, 262_144],
      [262_144, 8_192, 8_192],
    ]);
    expect(end.sessions.freeBytes).toBe(0);
    // Without a link they keep what they have.
    links[0]?.lose();
    world.run(200);
    expect(end.sessions.freeBytes).toBe(0);
    end.sessions.close('');
    expect(end.sessions.freeBytes).toBe(1_048_576);
  });

  it.each([
    ['another device', { deviceId: 'press-8', moduleId: '' }],
    ['a module of the device', { deviceId: 'press-7', moduleId: 'spooler' }],
  ])('are not begun when HELLO names %s', (_what, names) => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const link = scriptedService(world, end.sessions, who, 1, { hello: { first: { secret: who.secret, ...names } } });
    world.run(100);
    expect([link.isClosed, end.sessions.size, link.frames]).toEqual([true, 0, []]);
    expect(end.refusedLinks[0]).toMatch(/another device/);
  });

  it('are not begun when HELLO names another session than the offer', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const link = scriptedService(world, end.sessions, identity(world), 1, { offer: { sessionId: new Uint8Array(16) } });
    world.run(100);
    expect([link.isClosed, end.sessions.size]).toEqual([true, 0]);
  });

  it('are not begun in a version that the device does not speak: BYE `version`, with a proof', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const link = scriptedService(world, end.sessions, identity(world), 1, { hello: { lowest: 2, highest: 9 } });
    world.run(100);
    expect([byeReason(link), link.of(FRAME.proof).length, end.sessions.size]).toEqual(['version', 1, 0]);
  });

  it.each([
    ['another caller', { caller: 'policy:other' }],
    ['another key', { peerKey: 'SHA256:other' }],
  ])('take no link of %s', (_what, offer) => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2, { offer });
    world.run(200);
    expect([first.isClosed, second.isClosed, second.frames]).toEqual([false, true, []]);
  });

  it('take no link without the encryption of the first, though it proves to know the session', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who, 1, { binding: new Uint8Array(32) });
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 2);
    world.run(200);
    expect([first.isClosed, second.isClosed, second.frames]).toEqual([false, true, []]);
  });

  it('take no second first link: the session is untouched', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who);
    world.run(100);
    const second = scriptedService(world, end.sessions, who, 1);
    world.run(200);
    expect([first.isClosed, second.isClosed, end.sessions.size]).toEqual([false, true, 1]);
  });
});

describe('the list of services', () => {
  it('of the newest proven link holds: open connections outside it are reset with `not_permitted`, others opened by it', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    const first = scriptedService(world, end.sessions, who, 1, { offer: { mayOpen: (name) => name !== 'never' } });
    for (const [id, name] of [
      [1, 'ssh'],
      [3, 'http'],
      [5, 'never'],
    ] as const)
      first.send(FRAME.open, id, openPayload(name));
    world.run(100);
    expect(first.of(FRAME.refused).map(({ id, payload }) => [id, payload[0]])).toEqual([
      [5, CONNECTION_REASONS.not_permitted],
    ]);
    // An unproven link changes nothing.
    const offer = { mayOpen: (name: string) => name === 'http' };
    const received = first.of(FRAME.opened).length * 12 + 9;
    const second = scriptedService(world, end.sessions, who, 2, { offer, isSilent: true, hello: { received } });
    world.run(200);
    expect(end.at(0).abortion).toBeUndefined();
    second.prove();
    world.run(300);
    expect([end.at(0).abortion, end.at(1).abortion]).toEqual(['not_permitted', undefined]);
    expect(second.of(FRAME.reset).map(({ id, payload }) => [id, payload[0]])).toEqual([
      [1, CONNECTION_REASONS.not_permitted],
    ]);
    second.send(FRAME.open, 7, openPayload('ssh'));
    second.send(FRAME.open, 9, openPayload('http'));
    world.run(400);
    expect(second.of(FRAME.refused, 7)).toHaveLength(1);
    expect(second.of(FRAME.opened, 9)).toHaveLength(1);
  });
});

describe('a drain', () => {
  it('of the device refuses new connections with `going_away`, and ends the session when the last is over', () => {
    const world = new World(1);
    const pair = new Pair(world, { answerBytes: () => 2_000_000, wire: { rate: 500, splits: false } });
    pair.session.start();
    const program = pair.open('a', 2_000_000);
    world.run(1_000);
    pair.device.drain();
    const late = pair.open('b', 10);
    world.run(2_000);
    expect(late.abortion).toMatchObject({ reason: 'going_away', isRefusal: true });
    expect(pair.serviceEnd).toBeUndefined();
    world.run(60_000);
    expect(program).toMatchObject({ finishedCount: 1, received: 2_000_000 });
    expect(pair.devicePrograms[0]).toMatchObject({ finishedCount: 1, received: 2_000_000 });
    expect(pair.serviceEnd).toMatchObject({ reason: 'draining', byPeer: true });
    expect(pair.device.size).toBe(0);
  });

  it('of the device answers new sessions with `draining`, until it opens again', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    end.sessions.drain();
    const link = scriptedService(world, end.sessions, identity(world));
    world.run(100);
    expect([byeReason(link), end.sessions.size]).toEqual(['draining', 0]);
    end.sessions.reopen();
    scriptedService(world, end.sessions, identity(world));
    world.run(200);
    expect(end.sessions.size).toBe(1);
  });

  it.each(['draining', 'expired'])(
    'or a session that ends with `%s` tells connections that were not answered',
    (reason) => {
      const world = new World(1);
      const end = new BareDevice(world, {}, () => undefined);
      const link = scriptedService(world, end.sessions, identity(world));
      link.send(FRAME.open, 1, openPayload('a'));
      world.run(100);
      if (reason === 'draining') end.sessions.close('');
      else link.lose();
      world.run(16 * MINUTE);
      expect(end.ends).toMatchObject([{ reason }]);
      expect(end.at(0).abortion).toBeDefined();
    },
  );

  it('moves connections that crossed the BYE to another session when nothing of them was sent', () => {
    const world = new World(1);
    const pair = new Pair(world, { answerBytes: () => 10, wire: { delayMs: 100 } });
    pair.session.start();
    pair.open('a', 10);
    world.run(2_000);
    pair.device.drain();
    const crossing = pair.session.open('b', pair.servicePrograms[0] as never);
    expect(crossing).toBeDefined();
    world.run(3_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'draining' });
    expect(pair.untouched).toBe(1);
  });

  it('of the service side opens no more, and ends the session after the last connection', () => {
    const world = new World(1);
    const pair = new Pair(world, { answerBytes: () => 100_000 });
    pair.session.start();
    const program = pair.open('a', 100_000);
    world.run(100);
    pair.session.drain();
    expect(pair.session.open('b', program)).toBeUndefined();
    world.run(10_000);
    expect(program.finishedCount).toBe(1);
    expect(pair.serviceEnd).toMatchObject({ reason: 'done' });
    expect(pair.deviceEnd).toMatchObject({ reason: 'done', byPeer: true });
  });
});

describe('an end that is not idle', () => {
  it('is the service side’s alone to end: a device keeps a session without connections, and expires it without a link', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const link = scriptedService(world, end.sessions, identity(world));
    // Bytes show that the link is alive.
    for (let at = MINUTE; at < 30 * MINUTE; at += MINUTE) {
      world.run(at);
      link.send(FRAME.ping, 0, new Uint8Array(8));
    }
    world.run(30 * MINUTE);
    expect(end.sessions.sessions.map(({ isUp }) => isUp)).toEqual([true]);
    // Without connections nobody sends PING.
    expect(link.of(FRAME.ping)).toEqual([]);
    link.lose();
    world.run(44 * MINUTE);
    expect(end.sessions.size).toBe(1);
    world.run(46 * MINUTE);
    expect(end.ends).toMatchObject([{ reason: 'expired' }]);
    expect(world.timers).toBe(0);
  });

  it('sends PING after 10 s of silence while a connection is open, or something is unacknowledged', () => {
    const world = new World(1);
    const device = new ScriptedDevice(world);
    world.run(9_000);
    const connection = device.session.open('a', {
      data: () => undefined,
      ended: () => undefined,
      drained: () => undefined,
      aborted: () => undefined,
    });
    world.run(9_200);
    device.link.acknowledges = false;
    device.link.send(FRAME.opened, 1, new Uint8Array(4));
    world.run(19_000);
    expect(device.link.of(FRAME.ping)).toHaveLength(0);
    world.run(20_000);
    expect(device.link.of(FRAME.ping)).toHaveLength(1);
    connection?.abort('reset');
    device.link.send(FRAME.pong, 0, new Uint8Array(8));
    world.run(31_000);
    expect(device.link.of(FRAME.ping)).toHaveLength(2);
  });

  it('is kept for the lesser retention of both ends, counted from the last byte on a proven link', () => {
    const world = new World(1);
    const end = new BareDevice(world, { retentionSeconds: 900 });
    const who = identity(world);
    const link = scriptedService(world, end.sessions, who, 1, { hello: { retentionSeconds: 60 } });
    world.run(1_000);
    link.lose();
    // Links of somebody who does not know the secret say nothing about the peer.
    for (let second = 5; second < 60; second += 5) {
      scriptedService(world, end.sessions, who, 2, { isFalse: true });
      world.run(second * 1_000);
    }
    expect(end.sessions.size).toBe(1);
    world.run(62_000);
    expect(end.ends).toMatchObject([{ reason: 'expired' }]);
  });

  it('is given up by the service side after the lesser retention of both ends', () => {
    const world = new World(1);
    let answers = true;
    const device = new ScriptedDevice(world, {
      answer: (each, number, hello) => {
        if (answers) device.answer(world, each, number, hello, { retentionSeconds: 60 });
      },
    });
    const nothing = (): void => undefined;
    device.session.open('a', { data: nothing, ended: nothing, drained: nothing, aborted: nothing });
    world.run(1_000);
    answers = false;
    device.link.lose();
    world.run(59_000);
    expect(device.end).toBeUndefined();
    world.run(63_000);
    expect(device.end).toMatchObject({ reason: 'expired' });
  });

  it('is kept by the service side for 60 s after the last connection, not after the first', () => {
    const world = new World(1);
    const pair = new Pair(world, { answerBytes: () => 10 });
    pair.session.start();
    pair.open('a', 10);
    world.run(50_000);
    pair.open('b', 10);
    world.run(65_000);
    expect(pair.serviceEnd).toBeUndefined();
    world.run(115_000);
    expect(pair.serviceEnd).toMatchObject({ reason: 'done' });
  });

  it('is not ended by a BYE on a link that has not proved itself', () => {
    const world = new World(1);
    const end = new BareDevice(world);
    const who = identity(world);
    scriptedService(world, end.sessions, who);
    world.run(100);
    const stranger = scriptedService(world, end.sessions, who, 2, { isSilent: true });
    world.run(150);
    stranger.send(FRAME.bye, 0, new Uint8Array(5));
    world.run(200);
    expect([stranger.isClosed, end.ends, end.sessions.size]).toEqual([true, [], 1]);
  });

  it.each([
    [true, 1],
    [false, 3],
  ])('that does not know the session any more is believed, encrypted %s, after %i links', (isEncrypted, links) => {
    const world = new World(1);
    const pair = new Pair(world, { isEncrypted, target: (connection) => connection.accept() });
    pair.session.start();
    pair.open('a', 10).isStalled = true;
    world.run(1_000);
    pair.restartDevice();
    world.run(2 * MINUTE);
    expect(pair.serviceEnd).toMatchObject({
      reason: 'unknown',
      text: 'The device no longer knows the session: its agent was restarted.',
      byPeer: true,
    });
    expect(pair.wires).toHaveLength(1 + links);
  });
});
