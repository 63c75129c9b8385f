import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { Hub, type HubConfigInput, parseHubConfig } from '@culvert/hub';
import { ServiceClient } from '@culvert/service';
import {
  amqpTransport,
  type DeviceCertificate,
  deviceCertificate,
  MqttDevice,
  mqttTransport,
  startHub,
  type TestCertificate,
  testCertificate,
} from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('clients are asked for a certificate', () => {
  const overTls = mqttTransport('TLS', 5);
  const overWebSocket = mqttTransport('WebSocket', 5);

  /** Returns the transports and server names with which a device with a certificate can attach at the hub's address. */
  async function open(config: Partial<HubConfigInput>): Promise<string[]> {
    const hub = await startHub({ config: { mqttListen: '127.0.0.1:0', ...config } });
    cleanups.push(() => hub.stop());
    const { cert, key, sha256 } = await deviceCertificate('d1');
    const authentication = { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: sha256 } } as const;
    await hub.owner.devices.create('d1', { authentication });
    const ways: string[] = [];
    for (const servername of [undefined, 'localhost']) {
      for (const transport of [overTls, overWebSocket]) {
        const certificate = { cert, key, ...(servername === undefined ? {} : { servername }) };
        const attached = transport.attach(hub, { deviceId: 'd1' }, { certificate });
        const way = `${transport.name}${servername === undefined ? '' : ` by ${servername}`}`;
        await attached.then(
          (device) => {
            ways.push(way);
            device.drop();
          },
          () => undefined,
        );
      }
    }
    return ways;
  }

  const advertise = ['127.0.0.1', 'localhost'];
  it.each<[string, Partial<HubConfigInput>, string[]]>([
    ['nowhere', {}, []],
    ['on the main port', { clientCertificates: ['listen'] }, ['WebSocket', 'WebSocket by localhost']],
    ['on the MQTT port', { clientCertificates: ['mqttListen'] }, ['TLS', 'TLS by localhost']],
    ['at a host of the main port', { advertise, clientCertificates: ['localhost'] }, ['WebSocket by localhost']],
  ])('%s, as is configured', async (_what, config, ways) => {
    expect(await open(config)).toEqual(ways.map((way) => `MQTT 5 over ${way}`));
  });
});

describe("an operator's certificate", () => {
  function prepare(pair: TestCertificate, clientCertificates: string[]) {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-hub-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const tls = { certFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') };
    const write = ({ cert, key }: TestCertificate) => {
      writeFileSync(tls.certFile, cert);
      writeFileSync(tls.keyFile, key);
    };
    write(pair);
    const config = parseHubConfig({
      ...{ dataDir: join(directory, 'data'), tls, clientCertificates },
      ...{ listen: '127.0.0.1:0', mqttListen: '127.0.0.1:0', adminListen: '127.0.0.1:0' },
      advertise: ['127.0.0.1', 'devices.hub.example'],
    });
    return { config, write };
  }

  it('must be for the hosts at which devices show theirs', async () => {
    const { config, write } = prepare(await testCertificate({ names: ['hub.example'] }), ['devices.hub.example']);
    await expect(Hub.start(config)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(
        /^The certificate in .*cert\.pem is not for 'devices\.hub\.example' \(clientCertificates\)\.$/,
      ),
    });
    write(await testCertificate({ names: ['*.hub.example'] }));
    await (await Hub.start(config)).stop(0);
  });

  it('may be replaced, and devices are asked for theirs as before', async () => {
    const first = await testCertificate();
    const { config, write } = prepare(first, ['mqttListen']);
    const hub = await Hub.start(config);
    cleanups.push(() => hub.stop(0));
    const policy = readFileSync(join(config.dataDir, 'policies', 'iothubowner'), 'utf8').trim();
    const owner = ServiceClient.fromConnectionString(policy, { outbound: { ca: first.ca, proxy: false } });
    const device = await deviceCertificate('d1');
    const authentication = { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: device.sha1 } } as const;
    await owner.devices.create('d1', { authentication });
    owner.close();
    const second = await testCertificate();
    write(second);
    await hub.reload();
    expect(await connack(hub, device, second.ca)).toBe(0);
  });

  async function connack(hub: Hub, { cert, key }: DeviceCertificate, ca: string): Promise<number | undefined> {
    const port = hub.mqttAddress?.port ?? 0;
    const socket = connect({ host: '127.0.0.1', port, ca, cert, key });
    cleanups.push(() => socket.destroy());
    return (await new MqttDevice(socket, 5).connect('d1', { password: Buffer.alloc(0) })).reasonCode;
  }
});

describe('a device with a certificate that nobody asked for', () => {
  it.each([
    mqttTransport('TLS', 5),
    mqttTransport('TLS', 4),
    mqttTransport('WebSocket', 5),
    amqpTransport('TLS'),
    amqpTransport('WebSocket'),
  ])('is noted as such, with the way out, over $name', async (transport) => {
    const hub = await startHub({ config: { mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' } });
    cleanups.push(() => hub.stop());
    const certificate = await deviceCertificate('d1');
    // A device to which the hub offers none of its SASL mechanisms may wait without end for a result.
    transport.attach(hub, { deviceId: 'd1' }, { certificate }).catch(() => undefined);
    const { detail } = await hub.event('connection-refused');
    expect(detail).toMatch(/listener asks no client for a certificate.*clientCertificates/);
  });

  it('is told, by the SDK too; where the listener does ask, that it showed none', async () => {
    const asking = await startHub({ config: { clientCertificates: ['listen'] } });
    cleanups.push(() => asking.stop());
    await expect(mqttTransport('WebSocket', 5).attach(asking, { deviceId: 'd1' }, {})).rejects.toThrow();
    const { detail } = await asking.event('connection-refused');
    expect(detail).toBe('Neither a token nor a certificate was shown.');
    expect(await asking.owner.endpoints()).toMatchObject({ clientCertificates: ['listen'] });
  });
});
