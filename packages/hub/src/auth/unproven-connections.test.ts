import { EventEmitter } from 'node:events';
import { setImmediate as turnsEnd } from 'node:timers/promises';
import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { UnprovenConnections } from './unproven-connections.ts';

class Peer extends EventEmitter {
  destroyed = false;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress = '198.51.100.1';
  readonly localPort: number;
  constructor(remoteAddress: string, remotePort: number, localPort = 8443) {
    super();
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.localPort = localPort;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('unproven connections', () => {
  const make = () => {
    const clock = new FakeClock();
    return { clock, unproven: new UnprovenConnections({ clock, authenticateMs: 10_000, maxPerAddress: 2 }) };
  };

  it('are so many per address, and others are not affected', async () => {
    const { unproven } = make();
    const peers = [
      new Peer('192.0.2.1', 1),
      new Peer('192.0.2.1', 2),
      new Peer('192.0.2.1', 3),
      new Peer('192.0.2.2', 1),
    ];
    expect(peers.map((peer) => unproven.admit(peer))).toEqual([true, true, false, true]);
    await turnsEnd();
    expect(peers.map((peer) => peer.destroyed)).toEqual([false, false, true, false]);
    peers[0]?.destroy();
    expect(unproven.admit(new Peer('192.0.2.1', 4))).toBe(true);
  });

  it('have ten seconds, and all the time in the world once they are proven', async () => {
    const { clock, unproven } = make();
    const [slow, proven] = [new Peer('192.0.2.1', 1), new Peer('192.0.2.1', 2)];
    unproven.admit(slow);
    unproven.admit(proven);
    // The TLS socket stands for the TCP socket below it.
    unproven.proven(new Peer('192.0.2.1', 2));
    await clock.advance(10_000);
    await turnsEnd();
    expect([slow.destroyed, proven.destroyed]).toEqual([true, false]);
    proven.destroy();
    expect([unproven.size, clock.timers]).toEqual([0, 0]);
  });

  it('from one port to two doors are two connections', async () => {
    const { clock, unproven } = make();
    const [web, mqtt] = [new Peer('192.0.2.1', 1), new Peer('192.0.2.1', 1, 8883)];
    unproven.admit(web);
    unproven.admit(mqtt);
    unproven.proven(web);
    await clock.advance(10_000);
    await turnsEnd();
    expect([web.destroyed, mqtt.destroyed]).toEqual([false, true]);
    expect([unproven.size, clock.timers]).toEqual([0, 0]);
    const later = [new Peer('192.0.2.1', 2), new Peer('192.0.2.1', 3)];
    expect(later.map((peer) => unproven.admit(peer))).toEqual([true, true]);
  });

  it('take over from one whose end was not told yet, when the peer uses its port again', async () => {
    const { clock, unproven } = make();
    const [older, newer] = [new Peer('192.0.2.1', 1), new Peer('192.0.2.1', 1)];
    unproven.admit(older);
    await clock.advance(5_000);
    unproven.admit(newer);
    older.destroy();
    expect(unproven.size).toBe(1);
    await clock.advance(10_000);
    await turnsEnd();
    expect(newer.destroyed).toBe(true);
    expect([unproven.size, clock.timers]).toEqual([0, 0]);
    const later = [new Peer('192.0.2.1', 2), new Peer('192.0.2.1', 3)];
    expect(later.map((peer) => unproven.admit(peer))).toEqual([true, true]);
  });
});
