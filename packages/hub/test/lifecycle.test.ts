import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import { Hub, parseHubConfig } from '@culvert/hub';
import { ServiceClient } from '@culvert/service';
import { echoOffer, FakeClock, startHub, type TestHub, testCertificate } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options?: Parameters<typeof startHub>[0]): Promise<TestHub> {
  const test = await startHub(options);
  cleanups.push(() => test.stop());
  return test;
}

async function attach(test: TestHub, connectionString: string, onStream: (offer: StreamOffer) => Promise<void>) {
  const device = DeviceClient.fromConnectionString(connectionString, { onStream, outbound: test.outbound });
  cleanups.push(() => device.close());
  await device.open();
  return device;
}

function status(port: number, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
}

describe('a hub', () => {
  it('keeps its directory to its owner', async () => {
    const { directory } = await start();
    const mode = (name: string) => (statSync(join(directory, name)).mode & 0o777).toString(8);
    expect([mode('.'), mode('policies')]).toEqual(['700', '700']);
    const secret = [
      'registry.db',
      'registry.db-wal',
      'server.key',
      'authority/1.key',
      'policies/iothubowner',
      'policies/service',
    ];
    expect(secret.map(mode)).toEqual(secret.map(() => '600'));
  });

  it('starts again on the same data: same authority, same keys, same devices', async () => {
    const first = await startHub();
    const connectionString = await first.createDevice('kept');
    await first.stop({ keep: true });
    const again = await start({ directory: first.directory, config: { listen: `127.0.0.1:${first.port}` } });
    expect(again.ca).toBe(first.ca);
    expect(again.ownerConnectionString).toBe(first.ownerConnectionString);
    const device = await attach(again, connectionString, echoOffer);
    expect(device.state).toBe('attached');
  });

  it('says in one line that a port is taken, and leaves nothing behind', async () => {
    const { port, directory } = await start();
    const other = mkdtempSync(join(tmpdir(), 'culvert-hub-'));
    const config = parseHubConfig({ dataDir: other, listen: `127.0.0.1:${port}`, adminListen: '127.0.0.1:0' });
    await expect(Hub.start(config)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/^127\.0\.0\.1:\d+ is taken/),
    });
    // The lock of the directory was released, so a hub with the same directory and another port starts.
    const hub = await Hub.start(parseHubConfig({ ...config, listen: '127.0.0.1:0' }));
    await hub.stop();
    const twice = parseHubConfig({ dataDir: directory, listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' });
    await expect(Hub.start(twice)).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it.each([
    ['a directory in the way', (policies: string) => mkdirSync(join(policies, 'service'), { recursive: true })],
    ['a file in the way', (policies: string) => writeFileSync(policies, '')],
  ])('says in one line what is wrong with its files: %s', async (_what, spoil) => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-hub-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    spoil(join(directory, 'policies'));
    const config = parseHubConfig({ dataDir: directory, listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' });
    await expect(Hub.start(config)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/ cannot be used \(a .* is in its way\): .*start the hub again\.$/),
    });
  });

  it('is live and ready until it stops', async () => {
    const test = await startHub();
    const { port } = test.hub.adminAddress;
    expect([await status(port, '/livez'), await status(port, '/readyz'), await status(port, '/x')]).toEqual([
      200, 200, 404,
    ]);
    await test.stop();
    await expect(status(port, '/livez')).rejects.toThrow('ECONNREFUSED');
  });

  it('tells callers and devices that it stops, and lets streams end within the grace', async () => {
    const test = await startHub();
    const device = await attach(test, await test.createDevice('d'), echoOffer);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    stream.resume();
    const closed = once(stream, 'close');
    await test.createDevice('elsewhere');
    const waiting = test.owner.openStream('elsewhere', { name: 'x' }).catch((error: Error) => error);
    await test.event('stream-requested', ({ deviceId }) => deviceId === 'elsewhere');
    const stopped = test.hub.stop(30_000);
    await test.event('hub-draining');
    expect(await waiting).toMatchObject({ code: 'draining' });
    const { port } = test.hub.adminAddress;
    expect([await status(port, '/livez'), await status(port, '/readyz')]).toEqual([200, 503]);
    stream.end();
    await closed;
    await stopped;
    expect(test.events.find((event) => event.type === 'stream-closed')).toMatchObject({ cause: 'ended_by_service' });
    expect(device.state).not.toBe('attached');
    await test.stop();
  });

  it('ends a stream with "shutting down" when the grace is over', async () => {
    const test = await startHub();
    await attach(test, await test.createDevice('d'), echoOffer);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    const failed = once(stream, 'error');
    await test.stop();
    expect((await failed)[0]).toMatchObject({ code: 'draining' });
    expect(test.events.find((event) => event.type === 'stream-closed')).toMatchObject({ cause: 'shutting_down' });
  });

  it('lets a stream outlive the control channel it was offered on', async () => {
    const test = await start();
    const device = await attach(test, await test.createDevice('d'), echoOffer);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await device.close();
    await test.event('device-detached');
    stream.write('still here');
    expect(String((await once(stream, 'data'))[0])).toBe('still here');
    stream.destroy();
  });

  it('ends the channels that a removed policy key had opened, and their streams', async () => {
    const test = await start();
    await test.createDevice('d');
    const key = /SharedAccessKey=(.*)$/.exec(await test.policy('device'))?.[1];
    const text = `HostName=127.0.0.1:${test.port};DeviceId=d;SharedAccessKeyName=device;SharedAccessKey=${key}`;
    await attach(test, text, echoOffer);
    const stream = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    const failed = once(stream, 'error');
    await test.owner.policies.rotate('device');
    await test.owner.policies.rotate('device');
    expect((await failed)[0]).toMatchObject({ code: 'revoked' });
    expect(await test.event('device-detached')).toMatchObject({ error: 'revoked' });
  });

  it('has written the files of a rotated policy when it has stopped', async () => {
    const test = await startHub();
    // Many rotations, so that some of them are not written yet when the hub stops.
    for (let rotation = 0; rotation < 20; rotation++) await test.owner.policies.rotate('service');
    const { connectionString } = await test.owner.policies.get('service');
    await test.stop({ keep: true });
    expect(await test.policy('service')).toBe(connectionString);
    const problems = test.events.filter((event) => event.type === 'storage-failed');
    expect(problems).toEqual([]);
    rmSync(test.directory, { recursive: true });
  });

  it('goes by every name it is told, with and without port', async () => {
    const test = await start({ config: { advertise: ['hub.test:9443', 'localhost'] } });
    expect(test.hub.hostName).toBe('hub.test:9443');
    expect(test.ownerConnectionString).toContain('HostName=hub.test:9443;');
    const local = test.ownerConnectionString.replace('hub.test:9443', `localhost:${test.port}`);
    const client = ServiceClient.fromConnectionString(local, { outbound: test.outbound });
    expect(await client.endpoints()).toEqual({
      hostName: 'hub.test:9443',
      streamingEndpoints: ['https://hub.test:9443'],
      clientCertificates: [],
    });
    await client.devices.create('d');
    client.close();
  });

  it('presents a new certificate after a reload and keeps the old one when the new pair does not match', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-tls-'));
    const files = { certFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') };
    const [first, second] = [await testCertificate(), await testCertificate()];
    const write = (cert: string, key: string) => {
      writeFileSync(files.certFile, cert);
      writeFileSync(files.keyFile, key);
    };
    write(first.cert, first.key);
    const data = mkdtempSync(join(tmpdir(), 'culvert-hub-'));
    const config = parseHubConfig({ dataDir: data, listen: '127.0.0.1:0', adminListen: '127.0.0.1:0', tls: files });
    const hub = await Hub.start(config);
    cleanups.push(() => hub.stop(0));
    const presented = async () => {
      const socket: TLSSocket = connectTls({ host: '127.0.0.1', port: hub.address.port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerX509Certificate() ?? {};
      socket.destroy();
      return fingerprint256;
    };
    const before = await presented();
    write(second.cert, first.key);
    await hub.reload();
    expect(await presented()).toBe(before);
    write(second.cert, second.key);
    await hub.reload();
    expect(await presented()).not.toBe(before);
  });

  it('speaks TLS 1.3 by preference, 1.2 if it must, and nothing older, on every listener', async () => {
    const test = await start({ config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
    const handshake = (port: number, over: ConnectionOptions): Promise<string | null | undefined> =>
      new Promise((resolve) => {
        // OpenSSL's security level 0, because at higher levels the client refuses to offer the old versions.
        const ciphers = 'DEFAULT@SECLEVEL=0';
        const socket = connectTls({ host: '127.0.0.1', port, ca: test.ca, ciphers, ...over });
        socket.once('secureConnect', () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      });
    for (const port of [test.port, test.hub.mqttAddress?.port ?? 0, test.hub.amqpAddress?.port ?? 0]) {
      expect(await handshake(port, {})).toBe('TLSv1.3');
      expect(await handshake(port, { maxVersion: 'TLSv1.2' })).toBe('TLSv1.2');
      const old = await handshake(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' });
      expect(old).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    }
  });

  it('ends connections that have not authenticated after ten seconds, on TCP, TLS and HTTP', async () => {
    const clock = new FakeClock(Date.now());
    const test = await start({ clock, config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
    const tls = (port: number) => connectTls({ host: '127.0.0.1', port, ca: test.ca });
    const mqttPort = test.hub.mqttAddress?.port ?? 0;
    const amqpPort = test.hub.amqpAddress?.port ?? 0;
    const idle = [tls(test.port), tls(mqttPort), tls(amqpPort)];
    await Promise.all(idle.map((socket) => once(socket, 'secureConnect')));
    const raw = connectTcp(test.port, '127.0.0.1');
    await once(raw, 'connect');
    idle[0]?.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(idle[0] as TLSSocket, 'data');
    const closed = Promise.all(
      [...idle, raw].map((socket) => once(socket.on('error', () => undefined).resume(), 'close')),
    );
    await clock.advance(10_000);
    await closed;
  });
});
