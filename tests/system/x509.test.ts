import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type AuthenticationInput, parseOfferTopic } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { HubProcess } from './support/hub-process.ts';
import { connectMqttJs } from './support/mqtt-js.ts';
import { type CertificateFiles, OpenSsl } from './support/openssl.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';

const OFFERS = '$iothub/streams/POST/#';
const MAIN = 'hub.example';
const DEVICES = 'devices.hub.example';

const cleanup = new Cleanup();
let openssl: OpenSsl;
let hub: HubProcess;
let owner: ServiceClient;
let root: CertificateFiles;
let issuing: CertificateFiles;
/** A certificate of an authority that the hub's machine trusts, but that is not registered with the hub. */
let extra: CertificateFiles;

beforeAll(async () => {
  openssl = new OpenSsl(cleanup);
  [root, extra] = [await openssl.authority('Root'), await openssl.authority('Extra')];
  issuing = await openssl.authority('Issuing', root);
  hub = await HubProcess.start(cleanup, {
    mqtt: true,
    env: { NODE_EXTRA_CA_CERTS: extra.cert },
    config: { advertise: ['127.0.0.1', MAIN, DEVICES], clientCertificates: ['mqttListen', DEVICES] },
  });
  owner = hub.owner(cleanup);
  await owner.authorities.add('root', readFileSync(root.cert, 'utf8'));
});
afterAll(() => cleanup.run());

/** Registers a device and returns the arguments with which Mosquitto's clients connect as that device. */
async function mosquitto(deviceId: string, authentication: AuthenticationInput, { cert, key }: CertificateFiles) {
  await owner.devices.create(deviceId, { authentication });
  return [
    ...['-h', '127.0.0.1', '-p', String(hub.mqttPort), '--cafile', hub.caFile, '--cert', cert, '--key', key],
    ...['-V', 'mqttv5', '-i', deviceId, '-u', `127.0.0.1:${hub.port}/${deviceId}/?api-version=2020-09-30`],
  ];
}

/** Starts mosquitto_sub with a subscription to the offers, and waits until it is subscribed. */
async function subscriber(args: string[]): Promise<Program> {
  // mosquitto_sub buffers its output by blocks when it does not write to a terminal; stdbuf makes it buffer by lines.
  const all = ['-oL', 'mosquitto_sub', ...args, '-d', '-t', OFFERS, '-F', 'topic %t'];
  const program = new Program('stdbuf', all, { env: cleanEnvironment({ HOME: hub.home }) });
  cleanup.defer(program, () => program.stop());
  await program.waitFor(/Subscribed/);
  return program;
}

async function expectOffer(deviceId: string, device: Program): Promise<void> {
  const opening = owner.openStream(deviceId, { name: 'ssh', signal: AbortSignal.timeout(20_000) });
  const failed = expect(opening).rejects.toThrow();
  const [, topic = ''] = await device.waitFor(/^topic (\S+)/m);
  expect(parseOfferTopic(topic)?.streamName).toBe('ssh');
  await device.stop();
  await failed;
}

async function expectRefused(args: string[]): Promise<void> {
  const { code, stderr } = await run('mosquitto_sub', [...args, '-t', OFFERS], {
    env: cleanEnvironment({ HOME: hub.home }),
  });
  expect(stderr).toMatch(/not authori[sz]ed/i);
  expect(code).toBe(135);
}

describe("Mosquitto's clients with certificates that openssl made", () => {
  test.each(['sha1', 'sha256'] as const)('are known by a thumbprint, %s', async (hash) => {
    const files = await openssl.device('anything');
    const primaryThumbprint = await openssl.thumbprint(files, hash);
    const authentication = { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } } as const;
    const args = await mosquitto(`thumb-${hash}`, authentication, files);
    await expectOffer(`thumb-${hash}`, await subscriber(args));
    // A different certificate with the same name is not accepted.
    const other = await openssl.device('anything');
    await expectRefused(args.map((part) => ({ [files.cert]: other.cert, [files.key]: other.key })[part] ?? part));
  });

  test('are known by an authority, through one that they send along, until it is removed', async () => {
    const files = await openssl.device('by-authority', issuing);
    const args = await mosquitto('by-authority', { type: 'certificateAuthority' }, files);
    const device = await subscriber(args);
    try {
      await owner.authorities.remove('root');
      await device.waitFor(/received DISCONNECT \(152\)/i, 1_000);
      await expectRefused(args);
      // The registered authority may be an intermediate one.
      await owner.authorities.add(
        'issuing',
        readFileSync(issuing.cert, 'utf8').split(/(?<=END CERTIFICATE-----\n)/)[0] ?? '',
      );
      await expectOffer('by-authority', await subscriber(args));
    } finally {
      await owner.authorities.add('root', readFileSync(root.cert, 'utf8'));
    }
  });

  test('are known as a module by DEVICE/MODULE', async () => {
    const files = await openssl.device('line-7/camera', issuing);
    const args = await mosquitto('line-7', { type: 'none' }, files);
    await owner.modules.create('line-7', 'camera', { authentication: { type: 'certificateAuthority' } });
    const ofModule = args.map((part) =>
      part === 'line-7' ? 'line-7/camera' : part.replace('line-7/?', 'line-7/camera/?'),
    );
    await (await subscriber(ofModule)).stop();
    await expectRefused(args);
  });

  test.each<[string, () => Promise<CertificateFiles>]>([
    ['for another device', () => openssl.device('other', issuing)],
    ['that an authority of this machine issued', () => openssl.device('refused-1', extra)],
    ['that it issued itself', () => openssl.device('refused-2')],
  ])('are refused with one %s', async (_what, make) => {
    const files = await make();
    const deviceId = `refused-${++refused}`;
    await expectRefused(await mosquitto(deviceId, { type: 'certificateAuthority' }, files));
  });
  let refused = -1;
});

test('MQTT.js comes over WebSocket at the host where certificates are asked for, and at no other', async () => {
  const files = await openssl.device('js', issuing);
  await owner.devices.create('js', { authentication: { type: 'certificateAuthority' } });
  const credentials = { deviceId: 'js', username: `${DEVICES}/js/?api-version=2020-09-30`, password: '' };
  const attach = (servername: string) => {
    const tls = { ca: hub.ca, cert: readFileSync(files.cert), key: readFileSync(files.key), servername };
    return connectMqttJs(cleanup, hub, credentials, { reconnectPeriod: 0, wsOptions: tls, ...tls });
  };
  await expect(attach(MAIN)).rejects.toThrow(/not authori[sz]ed/i);
  const client = await attach(DEVICES);
  await client.subscribeAsync(OFFERS);
  await hub.connected(owner, 'js');
  await client.endAsync();
});

describe('who is asked for a certificate', () => {
  test.each(['-tls1_2', '-tls1_3'])('by openssl s_client, %s', async (version) => {
    const asked = async (port: number | undefined, ...name: string[]) => {
      const args = ['s_client', '-connect', `127.0.0.1:${port}`, version, '-msg', '-CAfile', hub.caFile, ...name];
      const { stdout, code, stderr } = await run('openssl', args);
      expect(code, stderr).toBe(0);
      // The CertificateRequest names no authority, so that clients cannot learn which ones are registered.
      expect(stdout).toContain('No client certificate CA names sent');
      return stdout.includes('CertificateRequest');
    };
    expect(await asked(hub.port, '-servername', MAIN)).toBe(false);
    expect(await asked(hub.port, '-noservername')).toBe(false);
    expect(await asked(hub.port, '-servername', DEVICES)).toBe(true);
    expect(await asked(hub.mqttPort, '-noservername')).toBe(true);
  });

  test('by curl', async () => {
    const asked = async (name: string) => {
      const resolved = ['--resolve', `${name}:${hub.port}:127.0.0.1`];
      const args = ['-sSv', '--fail', '--cacert', hub.caFile, ...resolved, `https://${name}:${hub.port}/`];
      const { code, stdout, stderr } = await run('curl', args);
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout).hostName).toBe(`127.0.0.1:${hub.port}`);
      return /Request CERT/i.test(stderr);
    };
    expect([await asked(MAIN), await asked(DEVICES)]).toEqual([false, true]);
  });

  test('by headless Chromium', async () => {
    const executablePath = '/usr/bin/chromium';
    expect(existsSync(executablePath), 'Chromium is installed').toBe(true);
    const visit = async (name: string): Promise<string> => {
      const log = join(hub.home, `${name}.netlog.json`);
      const browser = await chromium.launch({
        executablePath,
        chromiumSandbox: false,
        env: cleanEnvironment({ HOME: hub.home }) as Record<string, string>,
        args: [
          ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server'],
          ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
          ...[`--host-resolver-rules=MAP ${name} 127.0.0.1`, '--ignore-certificate-errors', `--log-net-log=${log}`],
        ],
      });
      const tab = await browser.newPage();
      await tab.goto(`https://${name}:${hub.port}/`, { timeout: 90_000 });
      expect(await tab.evaluate<string>('document.body.innerText')).toContain('streamingEndpoints');
      await browser.close();
      return readFileSync(log, 'utf8');
    };
    // The entry that Chromium logs when it must choose a client certificate: "ERR_SSL_CLIENT_AUTH_CERT_NEEDED".
    const needed = /"net_error":-110\b/;
    expect(await visit(MAIN)).not.toMatch(needed);
    expect(await visit(DEVICES)).toMatch(needed);
  });
});

test('hundreds of unauthenticated clients with long chains leave nothing in the hub’s memory', async () => {
  const files = await openssl.device('unknown', issuing);
  const [leaf = '', above = ''] = readFileSync(files.cert, 'utf8').split(/(?<=END CERTIFICATE-----\n)/);
  const client = { cert: leaf + above.repeat(20), key: readFileSync(files.key) };
  const unauthenticatedClient = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: hub.mqttPort ?? 0, ca: hub.ca, ...client });
      socket.on('error', () => undefined).on('close', () => resolve());
      // Does not send MQTT: the hub has checked the certificate by then.
      socket.on('secureConnect', () => socket.end('GET / HTTP/1.1\r\n\r\n'));
      socket.resume();
    });
  const many = async (count: number) => {
    for (let left = count; left > 0; left -= 20) await Promise.all(Array.from({ length: 20 }, unauthenticatedClient));
  };
  await many(200);
  const before = hub.residentBytes();
  await many(600);
  expect((hub.residentBytes() - before) / 1_048_576).toBeLessThan(40);
  expect(await hub.get('/')).toBe(200);
});
