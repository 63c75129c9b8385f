import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { connect, type TLSSocket } from 'node:tls';
import { DeviceClient } from '@culvert/device';
import { RawWebSocket, startHub, type TestHub, type TestHubOptions, testCertificate } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { parseHubConfig, resolveHubConfig } from '../src/config/config.ts';
import { Hub } from '../src/hub.ts';
import { FAILING_GATEWAY_THREAD, failGatewayThread } from './failing-gateway-thread.fixture.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const THREADS = { gatewayThreads: 2, gatewayListen: '127.0.0.1:0' };

async function start(options: TestHubOptions = {}): Promise<TestHub> {
  const test = await startHub({ ...options, config: { ...THREADS, ...options.config } });
  cleanups.push(() => test.stop());
  return test;
}

/** Attaches a device that sends received data back. */
async function attachEcho(test: TestHub): Promise<void> {
  const device = DeviceClient.fromConnectionString(await test.createDevice('d'), {
    outbound: test.outbound,
    onStream: async (offer) => {
      const stream = await offer.accept();
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  cleanups.push(() => device.close());
  await device.open();
}

async function gatewayPort(test: TestHub): Promise<number> {
  const [url = ''] = (await test.owner.endpoints()).streamingEndpoints;
  return Number(new URL(url).port);
}

describe('a hub with a gateway of two threads', () => {
  it('carries streams there, whichever threads their sides come to', async () => {
    const test = await start();
    await attachEcho(test);
    expect(await gatewayPort(test)).not.toBe(test.port);
    // With 16 streams, the probability that each has both sides in the same thread is 1 in 65,536.
    await Promise.all(
      Array.from({ length: 16 }, async (_, i) => {
        const stream = await test.owner.openStream('d', { name: 'x' });
        const sent = Buffer.alloc(300_000, i);
        stream.end(sent);
        expect((await buffer(stream)).equals(sent)).toBe(true);
      }),
    );
    for (let ended = 0; ended < 16; ended++) {
      const all = test.events.filter((event) => event.type === 'stream-ended');
      const next = await test.event(
        'stream-ended',
        ({ record }) => !all.slice(0, ended).some((e) => e.record === record),
      );
      expect(next.record).toMatchObject({
        gateway: `127.0.0.1:${await gatewayPort(test)}`,
        serviceAddress: '127.0.0.1',
        fromService: { bytes: 300_000 },
        fromDevice: { bytes: 300_000 },
      });
    }
  });

  it('counts, shows, limits and ends streams as ever', async () => {
    const test = await start({ config: { limits: { streams: 1 } } });
    await attachEcho(test);
    const stream = await test.owner.openStream('d', { name: 'x' });
    stream.write('hello');
    await once(stream, 'data');
    const { streamId } = await test.event('stream-established');
    const { value: shown } = await test.owner.streams.list().next();
    expect(shown).toMatchObject({ streamId, fromService: { bytes: 5 }, fromDevice: { bytes: 5 } });
    expect(test.hub.streams).toBe(1);
    await expect(test.owner.openStream('d', { name: 'x' })).rejects.toMatchObject({ code: 'too_many_requests' });
    const ended = once(stream, 'error');
    await test.owner.streams.close(streamId, 'lunch');
    expect((await ended)[0]).toMatchObject({ code: 'closed_by_administrator' });
    expect((await test.event('stream-ended')).record.cause).toBe('closed_by_administrator');
  });

  it('lets streams end while it stops, and then tells them', async () => {
    const test = await startHub({ config: THREADS });
    await attachEcho(test);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    const ended = once(stream, 'error');
    await test.stop({ graceMs: 0 });
    expect((await ended)[0]).toMatchObject({ code: 'draining' });
    cleanups.length = 0;
  });

  it('answers nothing else there, and takes no stream at the main port', async () => {
    const test = await start();
    const port = await gatewayPort(test);
    for (const path of ['/devices/d', '/$iothub/websocket']) {
      const socket = connect({ host: '127.0.0.1', port, ca: test.ca });
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      );
      expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1.1 404 /);
    }
    const url = `wss://127.0.0.1:${test.port}/bridges/${'0'.repeat(32)}/device`;
    const refused = await RawWebSocket.open({ url, token: 'x.y.z' }, { ca: test.ca });
    expect(refused.head).toMatch(/^HTTP\/1.1 401 /);
    refused.socket.destroy();
  });

  it('goes on when a thread fails: it says so, replaces it, and carries new streams', async () => {
    const test = await start({ gatewayEntry: FAILING_GATEWAY_THREAD });
    await attachEcho(test);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    const failed = once(stream, 'error');
    failGatewayThread();
    expect((await failed)[0]).toMatchObject({ code: 'stream_lost' });
    expect((await test.event('stream-ended')).record).toMatchObject({ cause: 'gateway_failed', error: 'stream_lost' });
    await test.event('gateway-thread-failed', ({ thread }) => thread === 1);
    for (const index of [0, 1]) await test.event('gateway-thread-replaced', ({ thread }) => thread === index);
    const next = await test.owner.openStream('d', { name: 'x' });
    next.end('again');
    expect((await buffer(next)).toString()).toBe('again');
    expect(await metric(test, 'culvert_faults_total')).toBe(2);
  });

  it('presents a new certificate in every thread', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-tls-'));
    const files = { certFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') };
    const write = ({ cert, key }: { cert: string; key: string }) => {
      writeFileSync(files.certFile, cert);
      writeFileSync(files.keyFile, key);
    };
    write(await testCertificate());
    const dataDir = mkdtempSync(join(tmpdir(), 'culvert-hub-'));
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    const listen = { listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' };
    const config = parseHubConfig({ dataDir, ...listen, ...THREADS, gatewayListen: `127.0.0.1:${port}`, tls: files });
    const hub = await Hub.start(config);
    cleanups.push(() => hub.stop(0));
    const presented = async () => {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerX509Certificate() ?? {};
      socket.destroy();
      return fingerprint256;
    };
    const before = await presented();
    write(await testCertificate());
    await hub.reload();
    // The threads receive the new certificate in a message, so a thread may present the old one for a short time.
    let after = await presented();
    while (after === before) after = await presented();
    const later = await Promise.all(Array.from({ length: 16 }, presented));
    expect(new Set(later).has(before)).toBe(false);
  });

  it('does not start with a certificate that is not for its name', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-tls-'));
    const tls = { certFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') };
    const { cert, key } = await testCertificate();
    writeFileSync(tls.certFile, cert);
    writeFileSync(tls.keyFile, key);
    await expect(startHub({ config: { ...THREADS, gatewayHost: 'streams.example', tls } })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/cert\.pem is not for 'streams\.example' \(gatewayHost\)\.$/),
    });
  });

  it('does not start when the address is taken, though by one who would share it', async () => {
    const other = createServer().listen({ host: '127.0.0.1', port: 0, reusePort: true });
    cleanups.push(() => other.close());
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    await expect(startHub({ config: { ...THREADS, gatewayListen: `127.0.0.1:${port}` } })).rejects.toMatchObject({
      code: 'config_invalid',
      message: `127.0.0.1:${port} is taken by another program: stop that one, or choose another address with --gateway-listen (gatewayListen in the configuration file).`,
    });
  });
});

async function metric(test: TestHub, name: string): Promise<number> {
  const { host, port } = test.hub.adminAddress;
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
}

describe('the configuration of the gateway’s threads', () => {
  const config = (over: object) => parseHubConfig({ dataDir: '/d', ...over });

  it.each([
    [{ gatewayThreads: 2 }, /^gatewayThreads needs gatewayListen/],
    [
      { gatewayListen: ':9443' },
      /^gatewayListen is for a gateway of several threads: say how many with gatewayThreads/,
    ],
    [{ gatewayHost: 'streams.example' }, /^gatewayHost is for a gateway of several threads/],
    [{ gatewayThreads: 2, gatewayListen: ':8443' }, /^gatewayListen and listen are the same address/],
    [{ gatewayThreads: 2, gatewayListen: '192.0.2.1:8443' }, /^gatewayListen and listen are the same address/],
    [
      { gatewayThreads: 2, gatewayListen: ':8883', mqttListen: '192.0.2.1:8883' },
      /^gatewayListen and mqttListen are the same address/,
    ],
    [{ gatewayThreads: 2, gatewayListen: 'x' }, /^gatewayListen: 'x' is not HOST:PORT/],
    [{ gatewayThreads: 2, gatewayListen: ':9443', gatewayHost: 'x:port' }, /^gatewayHost: 'x:port' is not/],
    [{ gatewayThreads: 65, gatewayListen: ':9443' }, /gatewayThreads/],
  ])('refuses %o', (over, message) => {
    expect(() => config(over)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    expect(() => config(over)).toThrow(message);
  });

  it('takes two addresses of one port', () => {
    const over = { listen: '192.0.2.1:443', gatewayListen: '192.0.2.2:443', gatewayThreads: 8 };
    expect(config(over)).toMatchObject(over);
  });

  it('takes streams off WebAssembly by flag, environment or file', () => {
    const chosen = (flags: object, env: NodeJS.ProcessEnv) => resolveHubConfig(flags, env, '/d').gatewayWebAssembly;
    expect(config({}).gatewayWebAssembly).toBe(true);
    expect(config({ gatewayWebAssembly: false }).gatewayWebAssembly).toBe(false);
    // Commander sets the option to true if the flag is not given.
    expect(chosen({ gatewayWebassembly: true }, {})).toBe(true);
    expect(chosen({ gatewayWebassembly: true }, { CULVERT_GATEWAY_WEBASSEMBLY: 'false' })).toBe(false);
    expect(chosen({ gatewayWebassembly: false }, { CULVERT_GATEWAY_WEBASSEMBLY: 'true' })).toBe(false);
    expect(() => chosen({}, { CULVERT_GATEWAY_WEBASSEMBLY: 'no' })).toThrow(/gatewayWebAssembly/);
  });

  it('comes by flag or environment', () => {
    const env = {
      CULVERT_GATEWAY_THREADS: '3',
      CULVERT_GATEWAY_LISTEN: ':9443',
      CULVERT_GATEWAY_HOST: 'streams.example',
    };
    expect(resolveHubConfig({ gatewayThreads: '4' }, env, '/d')).toMatchObject({
      gatewayThreads: 4,
      gatewayListen: ':9443',
      gatewayHost: 'streams.example',
    });
    expect(() => resolveHubConfig({ gatewayThreads: 'many' }, env, '/d')).toThrow(/gatewayThreads/);
  });
});
