import { EventEmitter } from 'node:events';
import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { UnauthenticatedConnections, type UnauthenticatedLimits } from './unauthenticated-connections.ts';

class Peer extends EventEmitter {
  bytesRead = 0;
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

const make = (over: Partial<UnauthenticatedLimits> = {}) => {
  const clock = new FakeClock();
  const unauthenticated = new UnauthenticatedConnections({ clock, maxPerAddress: 2, maxTotal: 100, ...over });
  /** Admits a connection and brings it to `stage`. */
  const arrive = (address: string | undefined, stage: 'hello' | 'handshake' | 'secure' = 'hello') => {
    const tcp = new Peer();
    const secure = new Peer();
    const taken = unauthenticated.admit(tcp, address);
    if (stage !== 'hello') unauthenticated.handshakeBegun(tcp);
    if (stage === 'secure') unauthenticated.handshakeDone(tcp, secure);
    return { tcp, secure, taken };
  };
  return { clock, unauthenticated, arrive };
};

const immediates = () => new Promise((resolve) => setImmediate(resolve));

describe('connections that have not authenticated', () => {
  it('make room for a new one of their address, the oldest first, and others are not affected', async () => {
    const { unauthenticated, arrive } = make();
    const all = ['192.0.2.1', '192.0.2.2', '192.0.2.1', '::ffff:192.0.2.1'].map((address) => arrive(address));
    expect(all.map(({ taken }) => taken)).toEqual([true, true, true, true]);
    await immediates();
    expect(all.map(({ tcp }) => tcp.destroyed)).toEqual([true, false, false, false]);
    expect([unauthenticated.size, unauthenticated.evicted]).toEqual([3, 1]);
  });

  it('are counted by /64 where they come by IPv6', async () => {
    const { arrive } = make();
    const all = ['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1', '2001:db8::3'].map((address) => arrive(address));
    await immediates();
    expect(all.map(({ tcp }) => tcp.destroyed)).toEqual([true, false, false, false]);
  });

  it('stay while others of the address have not finished TLS', async () => {
    const { unauthenticated, arrive } = make({ maxPerAddress: 3 });
    const secure = arrive('192.0.2.1', 'secure');
    const begun = arrive('192.0.2.1', 'handshake');
    const silent = arrive('192.0.2.1');
    expect(arrive('192.0.2.1').taken).toBe(true);
    await immediates();
    expect([secure.secure, begun.tcp, silent.tcp].map(({ destroyed }) => destroyed)).toEqual([false, true, false]);
    expect(unauthenticated.size).toBe(3);
  });

  it('that have finished TLS and then say nothing go after two seconds, where there is need', async () => {
    const { clock, arrive } = make();
    const [older, newer] = [arrive('192.0.2.1', 'secure'), arrive('192.0.2.1', 'secure')];
    const refused = arrive('192.0.2.1');
    await immediates();
    expect(refused).toMatchObject({ taken: false, tcp: { destroyed: true } });
    await clock.advance(2_000);
    expect(arrive('192.0.2.1').taken).toBe(true);
    await immediates();
    expect([older.secure.destroyed, newer.secure.destroyed]).toEqual([true, false]);
  });

  it('that have just come stay while others of the address finished TLS and then say nothing', async () => {
    const { clock, arrive } = make({ maxPerAddress: 3 });
    const idle = [arrive('192.0.2.1', 'secure'), arrive('192.0.2.1', 'secure')];
    await clock.advance(2_000);
    const fresh = arrive('192.0.2.1', 'handshake');
    expect(arrive('192.0.2.1').taken).toBe(true);
    await immediates();
    expect(idle.map(({ secure }) => secure.destroyed)).toEqual([true, false]);
    expect(fresh.tcp.destroyed).toBe(false);
  });

  it('are limited over all addresses', async () => {
    const { unauthenticated, arrive } = make({ maxTotal: 3 });
    const all = Array.from({ length: 5 }, (_, index) => arrive(`192.0.2.${index}`));
    await immediates();
    expect(all.map(({ tcp }) => tcp.destroyed)).toEqual([true, true, false, false, false]);
    expect(unauthenticated.size).toBe(3);
  });

  it('of a load balancer count in all, and by address once it has said for whom they are', async () => {
    const { unauthenticated, arrive } = make({ maxTotal: 4 });
    const behind = Array.from({ length: 4 }, () => arrive(undefined));
    for (const { tcp } of behind.slice(0, 3)) expect(unauthenticated.readdress(tcp, '192.0.2.1')).toBe(true);
    await immediates();
    expect(behind.map(({ tcp }) => tcp.destroyed)).toEqual([true, false, false, false]);
    arrive('192.0.2.2');
    arrive('192.0.2.3');
    await immediates();
    expect(behind.map(({ tcp }) => tcp.destroyed)).toEqual([true, true, false, false]);
  });

  it('have five seconds for the first message of TLS, ten for all, and no limit once they have authenticated', async () => {
    const { clock, unauthenticated, arrive } = make({ maxPerAddress: 9 });
    const silent = arrive('192.0.2.1');
    const begun = arrive('192.0.2.1', 'handshake');
    const secure = arrive('192.0.2.1', 'secure');
    const authenticated = arrive('192.0.2.1', 'secure');
    unauthenticated.authenticated(authenticated.secure);
    expect([unauthenticated.has(secure.secure), unauthenticated.has(authenticated.secure)]).toEqual([true, false]);
    await clock.advance(4_999);
    await immediates();
    expect([silent, begun, secure].map(({ tcp }) => tcp.destroyed)).toEqual([false, false, false]);
    await clock.advance(1);
    await immediates();
    expect([silent, begun, secure].map(({ tcp }) => tcp.destroyed)).toEqual([true, false, false]);
    await clock.advance(5_000);
    await immediates();
    expect([begun.tcp.destroyed, secure.secure.destroyed, authenticated.secure.destroyed]).toEqual([true, true, false]);
    expect([unauthenticated.size, clock.timers]).toEqual([0, 0]);
  });

  it('may send so much before TLS is done, and what they like afterwards', async () => {
    const { clock, arrive } = make({ handshakeBytes: 100 });
    const [much, secure] = [arrive('192.0.2.1', 'handshake'), arrive('192.0.2.1', 'secure')];
    much.tcp.bytesRead = secure.tcp.bytesRead = 100;
    await clock.advance(1_000);
    await immediates();
    expect(much.tcp.destroyed).toBe(false);
    much.tcp.bytesRead = secure.tcp.bytesRead = 101;
    await clock.advance(1_000);
    await immediates();
    expect([much.tcp.destroyed, secure.secure.destroyed]).toEqual([true, false]);
  });

  it('are ended by their TLS socket, and never below one that is at work', async () => {
    const { unauthenticated, arrive } = make();
    const [begun, secure] = [arrive('192.0.2.1', 'handshake'), arrive('192.0.2.1', 'secure')];
    unauthenticated.destroyAll();
    expect([begun.tcp.destroyed, secure.secure.destroyed]).toEqual([false, false]);
    await immediates();
    expect([begun.tcp.destroyed, secure.tcp.destroyed, secure.secure.destroyed]).toEqual([true, false, true]);
    // An ended connection is not accepted, even if its handshake completes afterwards.
    expect(unauthenticated.handshakeDone(begun.tcp, begun.secure)).toBe(false);
  });

  it('leave nothing behind when they end, or were gone before anybody looked', () => {
    const { clock, unauthenticated, arrive } = make();
    arrive('192.0.2.1').tcp.destroy();
    expect(arrive('').taken).toBe(false);
    expect([unauthenticated.size, unauthenticated.evicted, clock.timers]).toEqual([0, 0, 0]);
  });
});
