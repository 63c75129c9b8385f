import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { FakeClock, FaultProxy, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { dialDuplex } from './dial.ts';
import { Liveness } from './liveness.ts';

/** Creates a Liveness whose peer answers each ping at once while `answers` is true. */
function bench(): {
  clock: FakeClock;
  liveness: Liveness;
  peer: { answers: boolean; pings: number; flushes: boolean };
  lost: () => number;
} {
  const clock = new FakeClock();
  const peer = { answers: true, pings: 0, flushes: true };
  let lost = 0;
  const liveness = new Liveness({
    clock,
    pingMs: 25_000,
    ping: (flushed) => {
      peer.pings++;
      if (peer.flushes) flushed();
      if (peer.answers) liveness.receivedPong();
    },
    lost: () => lost++,
  });
  liveness.start();
  return { clock, liveness, peer, lost: () => lost };
}

describe('Liveness', () => {
  it('pings in every interval and leaves an answering peer alone', async () => {
    const { clock, liveness, peer, lost } = bench();
    await clock.advance(10 * 25_000);
    expect([peer.pings, lost()]).toEqual([10, 0]);
    liveness.stop();
    expect(clock.timers).toBe(0);
  });

  it('loses a peer that answers no ping for two intervals', async () => {
    const { clock, peer, lost } = bench();
    await clock.advance(50_000);
    peer.answers = false;
    await clock.advance(50_000);
    expect(lost()).toBe(0);
    await clock.advance(25_000);
    expect(lost()).toBe(1);
    expect(clock.timers).toBe(0);
  });

  it('takes data for a sign of life', async () => {
    const { clock, liveness, peer, lost } = bench();
    peer.answers = false;
    for (let turn = 0; turn < 20; turn++) {
      await clock.advance(25_000);
      liveness.receivedData();
    }
    expect(lost()).toBe(0);
    await clock.advance(100_000);
    expect(lost()).toBe(1);
  });

  it('does not blame the peer while we do not read', async () => {
    const { clock, liveness, peer, lost } = bench();
    peer.answers = false;
    liveness.paused = true;
    await clock.advance(3_600_000);
    liveness.paused = false;
    await clock.advance(50_000);
    expect(lost()).toBe(0);
    await clock.advance(50_000);
    expect(lost()).toBe(1);
  });

  it.each([0, 25_000])(
    'lets a peer that holds our data back be silent as long as the gateway does (pong after %i ms)',
    async (ms) => {
      const { clock, liveness, peer, lost } = bench();
      await clock.advance(25_000);
      liveness.sentData();
      await clock.advance(ms);
      peer.answers = false;
      await clock.advance(LIMITS.stallMs - 25_000);
      expect(lost()).toBe(0);
      await clock.advance(75_000);
      expect(lost()).toBe(1);
    },
  );

  it('queues one ping at a time behind a full buffer', async () => {
    const { clock, liveness, peer } = bench();
    peer.flushes = false;
    liveness.sentData();
    await clock.advance(250_000);
    expect(peer.pings).toBe(1);
  });

  it('never pings when told so', async () => {
    const clock = new FakeClock();
    const unwanted = (): never => {
      throw new CulvertError('internal');
    };
    new Liveness({ clock, pingMs: 0, ping: unwanted, lost: unwanted }).start();
    expect(clock.timers).toBe(0);
  });
});

describe('a stream whose network swallows everything', () => {
  it('is lost after two intervals, and tells so', async () => {
    const certificate = await testCertificate();
    const sockets: WebSocket[] = [];
    const server = await tlsWebSocketServer({ certificate, onSocket: (socket) => sockets.push(socket) });
    const proxy = await FaultProxy.start(server);
    const clock = new FakeClock();
    const outbound = { ca: certificate.ca, proxy: false } as const;
    const duplex: Duplex = await dialDuplex(`wss://127.0.0.1:${proxy.port}`, { clock, outbound });
    const failed = once(duplex, 'error');
    while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [socket] = sockets;
    const pinged = socket === undefined ? undefined : once(socket, 'ping');
    await clock.advance(25_000);
    await pinged;
    proxy.blackHole();
    await clock.advance(75_000);
    expect((await failed)[0]).toMatchObject({ code: 'stream_lost', message: 'The other side answers no more.' });
    await clock.advance(1_000);
    expect(clock.timers).toBe(0);
    await proxy.close();
    await server.close();
  });
});
