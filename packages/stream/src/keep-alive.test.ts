import { once } from 'node:events';
import { request } from 'node:https';
import { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { ConnectProxy, testCertificate, tlsWebSocketServer } from '@culvert/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { KEEP_ALIVE, stateKeepAlive } from './keep-alive.ts';
import { outboundAgent } from './outbound.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closers.splice(0).reverse()) await close();
});

describe('the keepalive of a socket', () => {
  it('is not below a minute where our own ends ping, and survives half a minute without a network', () => {
    for (const use of ['dialled', 'pinged', 'local'] as const)
      expect(KEEP_ALIVE[use].idleMs).toBeGreaterThanOrEqual(60_000);
    for (const use of ['dialled', 'pinged', 'unpinged', 'local'] as const)
      expect(KEEP_ALIVE[use].intervalMs * (KEEP_ALIVE[use].count - 1)).toBeGreaterThanOrEqual(30_000);
  });

  it('is left out for what is no socket', () => {
    expect(() => stateKeepAlive(new PassThrough(), 'dialled')).not.toThrow();
  });
});

describe.each(['directly', 'through a proxy'])('an agent that connects %s', (way) => {
  it('never has the kernel ask before two minutes, also while a connection is kept', async () => {
    const stated = vi.spyOn(Socket.prototype, 'setKeepAlive');
    const certificate = await testCertificate();
    const server = await tlsWebSocketServer({ certificate, onSocket: () => undefined });
    closers.push(() => server.close());
    const proxy = await ConnectProxy.start();
    closers.push(() => proxy.stop());
    const url = new URL(server.url.replace('wss:', 'https:'));
    const through = way === 'directly' ? false : proxy.url;
    const agent = await outboundAgent(url, { ca: certificate.ca, proxy: through });
    closers.push(() => agent.destroy());
    const call = request(url, { agent });
    call.on('error', () => undefined).end();
    const [socket] = (await once(call, 'socket')) as [Socket];
    if (socket.connecting) await once(socket, 'connect');
    call.destroy();
    expect(agent.options).toMatchObject({ keepAlive: true });
    expect('keepAliveMsecs' in agent && agent.keepAliveMsecs).toBe(120_000);
    expect(stated.mock.calls.length).toBeGreaterThan(0);
    for (const [enable, idleMs] of stated.mock.calls) expect([enable, idleMs]).toEqual([true, 120_000]);
  });
});
