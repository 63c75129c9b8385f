import { once } from 'node:events';
import * as https from 'node:https';
import { connect, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { type Clock, systemClock } from '@culvert/stream';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Agent, startAgent } from './agent/index.ts';
import { type Connect, type OpenStreamFunction, startConnect } from './connect/index.ts';
import { type Loopback, loopback } from './loopback.fixture.ts';

// Counts the work for a stream: writes, timers, connections and TLS handshakes. These numbers do not depend on the machine.

const ROUNDS = 50;

let hub: TestHub;
let service: ServiceClient;
let target: Loopback;
let agent: Agent;
let proxy: Connect;
let timers: number;

/** The system clock, with a count of the timers set. */
const clock: Clock = {
  now: () => systemClock.now(),
  setTimer(ms, callback) {
    timers++;
    return systemClock.setTimer(ms, callback);
  },
};

beforeEach(async () => {
  timers = 0;
  hub = await startHub();
  target = await loopback((socket) => socket.setNoDelay(true).on('data', (chunk) => socket.write(chunk)));
  const { outbound } = hub;
  service = ServiceClient.fromConnectionString(hub.ownerConnectionString, { outbound, clock });
  const services = new Map([['echo', { host: '127.0.0.1', port: target.port }]]);
  const connectionString = await hub.createDevice('d');
  agent = startAgent({ connectionString, services, outbound, clock });
  await agent.attached;
});

/** @param raw whether each connection has a stream of its own */
async function startProxy(raw: boolean): Promise<void> {
  const openStream: OpenStreamFunction = (deviceId, options) => service.openStream(deviceId, { ...options, raw });
  proxy = await startConnect({ openStream, deviceId: 'd', services: [{ name: 'echo', port: 0 }], clock });
}

afterEach(async () => {
  vi.restoreAllMocks();
  await proxy.destroy(new CulvertError('aborted'));
  await agent.destroy(new CulvertError('aborted'));
  service.close();
  await target.stop();
  await hub.stop();
});

async function program(): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: proxy.services[0]?.port ?? 0, noDelay: true });
  await roundTrip(socket);
  return socket;
}

async function roundTrip(socket: Socket): Promise<void> {
  socket.write(Buffer.alloc(64, 7));
  for (let back = 0; back < 64; ) back += ((await once(socket, 'data')) as [Buffer])[0].length;
}

/** How many writes had each of these sizes. */
function countsOf(chunks: readonly unknown[][], sizes: readonly number[]): number[] {
  const lengths = chunks.map(([chunk]) => (chunk as Buffer).length);
  return sizes.map((size) => lengths.filter((length) => length === size).length);
}

/** Sends small messages through the tunnel; every write of this process and the proxies' timers are counted meanwhile. */
async function watchedRoundTrips() {
  const socket = await program();
  const write = vi.spyOn(Socket.prototype, '_write');
  const writeMany = vi.spyOn(Socket.prototype, '_writev');
  timers = 0;
  for (let n = 0; n < ROUNDS; n++) await roundTrip(socket);
  expect(writeMany).not.toHaveBeenCalled();
  return { socket, write };
}

describe('a small message', () => {
  it('in a session is one write at each of its eight hops too, with an acknowledgement in it or beside it, and no timer of the proxies', async () => {
    await startProxy(false);
    const { socket, write } = await watchedRoundTrips();
    // DATA is 8 + 64 bytes, and an acknowledgement before it 16. Beside it the acknowledgement is a message of its own: after 25 ms without one.
    const [local, toGateway, withAck, fromGateway, acked] = countsOf(write.mock.calls, [64, 78, 94, 74, 90]) as [
      number,
      number,
      number,
      number,
      number,
    ];
    expect(local).toBe(4 * ROUNDS);
    expect([toGateway + withAck, fromGateway + acked]).toEqual([2 * ROUNDS, 2 * ROUNDS]);
    const [lone, loneFromGateway] = countsOf(write.mock.calls, [22, 18]) as [number, number];
    expect(write.mock.calls.length).toBe(8 * ROUNDS + lone + loneFromGateway);
    expect(lone).toBeLessThanOrEqual(2 * ROUNDS);
    expect(timers).toBe(0);
    socket.destroy();
  });

  it('on a raw stream is one write at each of its eight hops, there and back, in the turn in which it comes, and no timer', async () => {
    await startProxy(true);
    const { socket, write } = await watchedRoundTrips();
    expect(write).toHaveBeenCalledTimes(8 * ROUNDS);
    // The four writes to local connections have 64 bytes. A write to a TLS connection adds a frame header: six bytes towards the gateway, two from it.
    expect(countsOf(write.mock.calls, [64, 70, 66])).toEqual([4 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS]);
    expect(timers).toBe(0);
    socket.destroy();
  });
});

describe('a new stream', () => {
  it('asks by the one connection that is kept, and resumes a TLS session at both ends', async () => {
    await startProxy(true);
    const make = vi.spyOn(https.Agent.prototype, 'createConnection');
    const streams = 3;
    for (let n = 0; n < streams; n++) (await program()).destroy();
    const made = make.mock.results.map(({ value }) => value as unknown).filter((value) => value instanceof TLSSocket);
    // One connection carries all requests, and each end of each stream has one. All resume earlier TLS sessions.
    expect(make).toHaveBeenCalledTimes(1 + 2 * streams);
    expect(made.map((socket) => socket.isSessionReused())).toEqual(Array(1 + 2 * streams).fill(true));
  });
});
