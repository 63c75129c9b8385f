import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { encodePacket } from '@culvert/protocol/mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { connectFrom } from './support/connect-from.ts';
import { eventually } from './support/eventually.ts';
import { freePort } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { Program, run } from './support/program.ts';
import { mqttCredentials } from './support/sas.ts';
import { scratch } from './support/scratch.ts';

/** The address that the clients of these tests connect from; the balancer uses 127.0.0.1. */
const CLIENT = '127.0.0.9';

const cleanup = new Cleanup();
let hub: HubProcess;
/** The balancer's ports, by the version of the PROXY protocol it uses. */
const ports: Record<'v1' | 'v2', { main: number; mqtt: number }> = {
  v1: { main: 0, mqtt: 0 },
  v2: { main: 0, mqtt: 0 },
};

/** Returns an HAProxy configuration as its users write it: TCP passed through, with health checks of the hub. */
function configuration(backends: { main: number; mqtt: number }): string {
  const sections = (['v1', 'v2'] as const).flatMap((version) =>
    (['main', 'mqtt'] as const).map((listener) => {
      const send = version === 'v1' ? 'send-proxy' : 'send-proxy-v2';
      const check = 'check inter 200ms fall 1 rise 1';
      return `listen ${version}-${listener}
  bind 127.0.0.1:${ports[version][listener]}
  server hub 127.0.0.1:${backends[listener]} ${send} ${check}`;
    }),
  );
  return `defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n${sections.join('\n')}\n`;
}

beforeAll(async () => {
  for (const version of ['v1', 'v2'] as const) ports[version] = { main: await freePort(), mqtt: await freePort() };
  const balancer = ports.v1.main;
  const [main, mqtt] = [await freePort(), await freePort()];
  const file = join(scratch(cleanup), 'haproxy.cfg');
  writeFileSync(file, configuration({ main, mqtt }));
  cleanup.defer(new Program('haproxy', ['-db', '-f', file]), (program) => program.stop());
  hub = await HubProcess.start(cleanup, {
    balancer,
    ports: { main, mqtt },
    config: {
      advertise: [`127.0.0.1:${balancer}`],
      log: { level: 'debug', format: 'json' },
      proxyProtocol: ['listen', 'mqttListen'],
      proxyProtocolFrom: ['127.0.0.1'],
    },
  });
});
afterAll(() => cleanup.run());

describe.each(['v1', 'v2'] as const)('behind HAProxy that speaks the PROXY protocol %s', (version) => {
  test('a device is known by its own address', async () => {
    const deviceId = `d-${version}`;
    const { username, password } = await mqttCredentials(await hub.createDevice(deviceId));
    const { mqtt } = ports[version];
    const socket = connectFrom(CLIENT, mqtt, { ca: hub.ca });
    cleanup.defer(socket, () => socket.destroy());
    const connect = { protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60, clientId: deviceId } as const;
    socket.write(encodePacket({ cmd: 'connect', ...connect, username, password: Buffer.from(password) }, 4));
    const [connack] = (await once(socket, 'data')) as [Buffer];
    expect([...connack]).toEqual([0x20, 2, 0, 0]);
    expect(await hub.owner(cleanup).devices.presence(deviceId)).toMatchObject({ address: CLIENT });
  });

  test('a refused request is logged with the client’s address, whatever it says of forwarding', async () => {
    const { main } = ports[version];
    const asked = await run('curl', [
      ...['-s', '-o', '/dev/null', '-w', '%{http_code}', '--interface', CLIENT, '--cacert', hub.caFile],
      ...['-H', 'X-Forwarded-For: 203.0.113.7', '-H', `Authorization: nonsense-${version}`],
      `https://127.0.0.1:${main}/devices/d-${version}`,
    ]);
    expect(asked.stdout).toBe('401');
  });
});

describe('the hub itself', () => {
  test('closes a connection that comes without a header', async () => {
    const asked = await run('curl', ['-s', '--cacert', hub.caFile, `https://127.0.0.1:${hub.port}/`]);
    expect(asked.code).not.toBe(0);
  });

  test('closes a connection from elsewhere, with a header too', async () => {
    const socket = connectTcp({ host: '127.0.0.1', port: hub.port, localAddress: CLIENT }).on('error', () => undefined);
    socket.resume().write('PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
  });

  test('has logged refusals with the addresses of clients alone', async () => {
    const said = () => hub.program.stdout + hub.program.stderr;
    const refused = () =>
      said()
        .split('\n')
        .filter((line) => line.includes('"listener":"rest"'));
    await eventually('the refusals to be logged', () => refused().length >= 2);
    for (const line of refused()) expect(JSON.parse(line)).toMatchObject({ remoteAddress: CLIENT });
    expect(said()).not.toContain('203.0.113.7');
  });
});
