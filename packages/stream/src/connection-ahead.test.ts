import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { ConnectProxy, FakeClock, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectionAhead } from './connection-ahead.ts';
import { dialStreamWebSocket } from './dial.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

let clock: FakeClock;
beforeEach(() => {
  clock = new FakeClock();
});

async function server() {
  const certificate = await testCertificate();
  /** All TLS connections that the server accepted, and those that requested a WebSocket. */
  const connections: TLSSocket[] = [];
  const upgraded: unknown[] = [];
  let arrived = (): void => undefined;
  const started = await tlsWebSocketServer({
    certificate,
    onConnection: (socket) => {
      connections.push(socket);
      arrived();
    },
    onSocket: (socket, request) => {
      upgraded.push(request.socket);
      socket.on('error', () => undefined);
    },
  });
  closers.push(() => started.close());
  const ahead = (at: Partial<{ host: string; port: number }> = {}, more = {}) =>
    new ConnectionAhead({ host: '127.0.0.1', port: started.port, ...at }, { ca: certificate.ca, ...more }, clock);
  const dial = async (by: ConnectionAhead, more = {}): Promise<void> => {
    const grant = { url: started.url, token: 'token' };
    const socket = await dialStreamWebSocket(grant, { outbound: { ca: certificate.ca, ...more }, clock, ahead: by });
    by.drop();
    expect(socket.readyState).toBe(socket.OPEN);
    socket.terminate();
  };
  const connected = async (count: number): Promise<void> => {
    while (connections.length < count) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
  };
  return { connections, upgraded, ahead, dial, connected };
}

describe('a connection that was begun ahead', () => {
  it('is the one that the WebSocket is opened on, whether it is there by then or not', async () => {
    const { connections, upgraded, ahead, dial, connected } = await server();
    const ready = ahead();
    await connected(1);
    await dial(ready);
    await dial(ahead());
    expect(connections).toHaveLength(2);
    expect(upgraded).toEqual(connections);
  });

  it('is ended when it is dropped', async () => {
    const { connections, upgraded, ahead, connected } = await server();
    const unwanted = ahead();
    await connected(1);
    unwanted.drop();
    unwanted.drop();
    const [only] = connections;
    if (only?.closed === false) await once(only, 'close');
    expect(upgraded).toEqual([]);
  });

  it('is not used when it is to another server or too old: a new one is made, and it is ended', async () => {
    const { connections, upgraded, ahead, dial, connected } = await server();
    const other = await server();
    const elsewhere = other.ahead();
    await other.connected(1);
    await dial(elsewhere);
    expect([connections.length, upgraded.length, other.upgraded.length]).toEqual([1, 1, 0]);
    const old = ahead();
    await connected(2);
    await clock.advance(5_000);
    await dial(old);
    expect(upgraded[1]).toBe(connections[2]);
    for (const unused of [other.connections[0], connections[1]]) {
      if (unused?.closed === false) await once(unused, 'close');
    }
    expect([upgraded.length, other.upgraded.length]).toEqual([2, 0]);
  });

  it('fails unseen: whoever dials is told', async () => {
    const { upgraded, ahead, dial } = await server();
    await dial(ahead({ port: 1 }));
    await dial(ahead({}, { ca: 'no certificate' }));
    expect(upgraded).toHaveLength(2);
  });

  it('is none where a proxy leads there', async () => {
    const { connections, upgraded, ahead, dial } = await server();
    const proxy = await ConnectProxy.start();
    closers.push(() => proxy.stop());
    await dial(ahead({}, { proxy: proxy.url }), { proxy: proxy.url });
    expect([connections.length, upgraded.length]).toEqual([1, 1]);
  });
});
