import { connect, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CulvertError } from '@culvert/protocol';
import { afterEach, describe, expect, it } from 'vitest';
import { deferred } from '../deferred.ts';
import { type Connect, type ConnectOptions, startConnect } from './connect.ts';
import type { ConnectEvent, OpenStreamFunction } from './connect-events.ts';

let running: Connect | undefined;
let events: ConnectEvent[] = [];

afterEach(async () => {
  await running?.destroy(new CulvertError('aborted'));
  running = undefined;
  events = [];
});

async function start(openStream: OpenStreamFunction, more: Partial<ConnectOptions> = {}): Promise<number> {
  running = await startConnect({
    openStream,
    deviceId: '-d$1',
    services: [{ name: 'echo', port: 0 }],
    onEvent: (event) => events.push(event),
    ...more,
  });
  return running.services[0]?.port ?? 0;
}

function client(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  return socket;
}

const echoing: OpenStreamFunction = () => {
  const [near, far] = duplexPair();
  far.pipe(far);
  return Promise.resolve(near);
};

const closing = (socket: Socket): Promise<boolean> => new Promise((resolve) => socket.once('close', resolve));

describe('startConnect', () => {
  it('relays many connections side by side, each on its own stream', async () => {
    const asked: string[] = [];
    const port = await start((deviceId, options) => {
      asked.push(`${deviceId} ${options.name}`);
      return echoing(deviceId, options);
    });
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const socket = client(port);
        const sent = Buffer.alloc(100_000 + index, index);
        socket.end(sent);
        expect((await buffer(socket)).equals(sent)).toBe(true);
      }),
    );
    expect(asked).toEqual(Array.from({ length: 50 }, () => '-d$1 echo'));
    await running?.close();
    expect(events.filter((event) => event.type === 'stream-ended')).toHaveLength(50);
  });

  it('asks for 32 streams at once, however many programs connect at once', async () => {
    const full = deferred();
    let opening = 0;
    let most = 0;
    const port = await start(async (deviceId, options) => {
      most = Math.max(most, ++opening);
      if (opening === 32) full.resolve();
      await full.promise;
      await new Promise((resolve) => setImmediate(resolve));
      opening--;
      return echoing(deviceId, options);
    });
    const answers = Array.from({ length: 100 }, () => {
      const socket = client(port);
      socket.end('x');
      return buffer(socket);
    });
    for (const answer of await Promise.all(answers)) expect(answer.toString()).toBe('x');
    expect(most).toBe(32);
  });

  it('keeps what is sent before the stream is open', async () => {
    const opening = deferred<Duplex>();
    const port = await start(() => opening.promise);
    const socket = client(port);
    socket.end('typed early');
    await new Promise((resolve) => socket.once('finish', resolve));
    const [near, far] = duplexPair();
    opening.resolve(near);
    expect((await buffer(far)).toString()).toBe('typed early');
    far.end();
    await closing(socket.resume());
  });

  it('ends the stream of a program that ended without a word before it was open', async () => {
    const opening = deferred<Duplex>();
    const port = await start(() => opening.promise);
    const socket = client(port);
    socket.end();
    await new Promise((resolve) => socket.once('finish', resolve));
    // Run the event loop several times, so that the proxy, which uses the same event loop, receives the end.
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    const [near, far] = duplexPair();
    opening.resolve(near);
    expect((await buffer(far)).toString()).toBe('');
    far.end();
    expect(await closing(socket.resume())).toBe(false);
    await running?.close();
    expect(events.at(-1)).toMatchObject({ type: 'stream-ended', endedBy: 'local', bytesSent: 0, bytesReceived: 0 });
  });

  it('resets the one connection whose stream cannot be opened, and goes on', async () => {
    let attempts = 0;
    const port = await start((deviceId, options) => {
      attempts += 1;
      if (attempts === 1) return Promise.reject(new CulvertError('rejected', "this agent has no service 'echo'"));
      return echoing(deviceId, options);
    });
    expect(await closing(client(port).resume())).toBe(true);
    expect(events.at(-1)).toMatchObject({ type: 'stream-failed', service: 'echo', error: { code: 'rejected' } });
    const socket = client(port);
    socket.end('again');
    expect((await buffer(socket)).toString()).toBe('again');
  });

  it('withdraws the request of a program that goes away', async () => {
    const asked = deferred<AbortSignal | undefined>();
    const port = await start((_deviceId, { signal }) => {
      asked.resolve(signal);
      return new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
      });
    });
    const socket = client(port);
    const signal = await asked.promise;
    socket.resetAndDestroy();
    await new Promise((resolve) => signal?.addEventListener('abort', resolve));
    expect(signal?.reason).toMatchObject({ code: 'aborted' });
  });

  it('resets connections beyond its bound', async () => {
    const port = await start(echoing, { maxConnections: 1 });
    const first = client(port);
    first.write('x');
    await new Promise((resolve) => first.once('data', resolve));
    expect(await closing(client(port).resume())).toBe(true);
    expect(events.at(-1)).toMatchObject({ error: { code: 'too_many_requests' } });
    first.end();
    await closing(first.resume());
  });

  it('says which port is taken, and leaves nothing listening', async () => {
    const port = await start(echoing);
    const services = [
      { name: 'a', port: 0 },
      { name: 'b', port },
    ];
    const bound: number[] = [];
    const onEvent = (event: ConnectEvent): void => {
      if (event.type === 'listening') bound.push(event.port);
    };
    await expect(startConnect({ openStream: echoing, deviceId: 'd', services, onEvent })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}: the port is already in use; choose another`,
    );
    expect(bound).toHaveLength(1);
    const socket = connect({ host: '127.0.0.1', port: bound[0] ?? 0 });
    const refused = await new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
    expect(refused.code).toBe('ECONNREFUSED');
  });

  it('lets running streams end when closed, then ends the rest', async () => {
    const port = await start(echoing);
    const socket = client(port);
    socket.write('x');
    await new Promise((resolve) => socket.once('data', resolve));
    const reset = closing(socket);
    await running?.close(1);
    await reset;
    expect(events.at(-1)).toMatchObject({ type: 'stream-failed', error: { code: 'draining' } });
  });
});
