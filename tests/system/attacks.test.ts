import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { encodePacket } from '@culvert/protocol/mqtt';
import type { ServiceClient } from '@culvert/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { connectFrom } from './support/connect-from.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { must } from './support/program.ts';
import { type MqttCredentials, mqttCredentials } from './support/sas.ts';
import { scratch } from './support/scratch.ts';

// Tests the limits for unauthenticated clients that SECURITY.md promises. For each promise an attack with a bounded number of connections runs on loopback
// against a separate hub. The tests check outcomes only: whether other clients are served during the attack, and what the hub has done and how much it holds.

/** An address that takes no part in the attacks. */
const BYSTANDER = '127.0.0.2';

const MIB = 1_048_576;

const cleanup = new Cleanup();
let hub: HubProcess;
let nextDevice: () => Promise<MqttCredentials>;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, {
    mqtt: true,
    config: { clientCertificates: ['mqttListen'], log: { level: 'debug' } },
  });
  nextDevice = devicesOf(hub.owner(cleanup));
});
afterAll(() => cleanup.run());

/** Keeps an attacker's connection until the test ends and ignores its errors. */
function kept<S extends Socket>(socket: S): S {
  socket.on('error', () => undefined);
  return cleanup.defer(socket, () => socket.destroy());
}

const tls = (port: number | undefined, options: ConnectionOptions & { from?: string } = {}): TLSSocket =>
  kept(connectFrom(options.from ?? '127.0.0.1', port ?? 0, { ca: hub.ca, ...options }));

const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });

/** Resolves with true when the client has completed the TLS handshake, with false when the connection closes before that. */
const secured = (socket: TLSSocket) =>
  new Promise<boolean>((resolve) =>
    socket.once('secureConnect', () => resolve(true)).once('close', () => resolve(false)),
  );

/** Returns the status of `GET /` on a new connection. @throws Error when there is no answer */
function getRoot(localAddress = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port: hub.port, path: '/', ca: hub.ca, agent: false, localAddress });
    call.on('response', (answer) => resolve(answer.resume().statusCode ?? 0));
    call.on('error', reject).end();
  });
}

/** Returns a function that returns a registered device: a new one after every 50 uses, so that no device reaches the hub's limit on connections per device. */
function devicesOf(owner: ServiceClient): () => Promise<MqttCredentials> {
  let uses = 0;
  let device: Promise<MqttCredentials>;
  return () => {
    if (uses % 50 === 0) device = register(owner, `d${uses}`);
    uses++;
    return device;
  };
}

async function register({ devices }: ServiceClient, deviceId: string): Promise<MqttCredentials> {
  const { authentication } = await devices.create(deviceId);
  const key = authentication.symmetricKey.primaryKey;
  return mqttCredentials(`HostName=${hub.hostName};DeviceId=${deviceId};SharedAccessKey=${key}`);
}

/** Connects as a registered device and returns the return code of the CONNACK. @throws Error when the hub closes the connection without a CONNACK */
async function attach(from = '127.0.0.1'): Promise<number | undefined> {
  const { deviceId, username, password } = await nextDevice();
  const socket = connectFrom(from, hub.mqttPort ?? 0, { ca: hub.ca });
  const connect = { protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60, clientId: deviceId } as const;
  socket.write(encodePacket({ cmd: 'connect', ...connect, username, password: Buffer.from(password) }, 4));
  const left = closed(socket).then(() => Promise.reject(new Error('closed without a CONNACK')));
  const [connack] = (await Promise.race([once(socket, 'data'), left])) as [Buffer];
  left.catch(() => undefined);
  socket.destroy();
  return connack[3];
}

/**
 * Milliseconds between two attempts of a legitimate client.
 * Without a pause it would use up the processor time that the hub grants its address for handshakes.
 */
const PAUSE_MS = 100;

/** Runs a legitimate client repeatedly until the attack is over. Returns the result of each attempt. */
async function meanwhile<T>(attack: Promise<unknown>, client: () => Promise<T>): Promise<T[]> {
  let isOver = false;
  void attack.finally(() => {
    isOver = true;
  });
  const served: T[] = [];
  do {
    served.push(await client());
    await sleep(PAUSE_MS);
  } while (!isOver);
  await attack;
  return served;
}

/** Returns the number of connections of the hub's process on one of its ports. */
async function connectionsAt(port: number): Promise<number> {
  const listed = await must('ss', ['-Htn', 'state', 'established', `sport = :${port}`]);
  return listed.split('\n').filter((line) => line !== '').length;
}

/** A certificate chain that is expensive to verify, with the leaf first: each certificate is signed by the next one, with P-521 keys. */
async function chainOf(length: number): Promise<{ key: string; certificates: string[] }> {
  const directory = scratch(cleanup);
  const keyFile = join(directory, 'key.pem');
  await must('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521', '-out', keyFile]);
  const certificates: string[] = [];
  for (let count = 0; count < length; count++) {
    const issuer = count === 0 ? [] : ['-CA', join(directory, `${count - 1}.pem`), '-CAkey', keyFile];
    const file = join(directory, `${count}.pem`);
    await must('openssl', ['req', '-x509', '-key', keyFile, '-subj', `/CN=${count}`, ...issuer, '-out', file]);
    certificates.unshift(readFileSync(file, 'utf8'));
  }
  return { key: readFileSync(keyFile, 'utf8'), certificates };
}

describe('an unauthenticated client', () => {
  test('who pipelines requests gets four answers to each connection, and stalls nobody', async () => {
    const before = hub.residentBytes();
    const flood = Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(2_500));
    const answers = await Promise.all([
      meanwhile(
        Promise.all(
          Array.from({ length: 100 }, async () => {
            const socket = tls(hub.port);
            let said = '';
            socket.setEncoding('latin1').on('data', (piece: string) => {
              said += piece;
            });
            socket.write(flood);
            await closed(socket);
            // A reset may discard answers that were not delivered yet; there are never more than four.
            expect(said.split('HTTP/1.1 ').length - 1).toBeLessThanOrEqual(4);
          }),
        ),
        () => getRoot(),
      ),
    ]);
    expect(new Set(answers.flat())).toEqual(new Set([200]));
    expect(hub.residentBytes() - before).toBeLessThan(200 * MIB);
  });

  test('whose connections say nothing keeps out nobody, not even behind the same address', async () => {
    const ports = [hub.port, hub.mqttPort ?? 0];
    const silent = Array.from({ length: 700 }, (_, index) => kept(connectTcp(ports[index % 2] ?? 0, '127.0.0.1')));
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    for (let count = 0; count < 50; count++) expect(await getRoot()).toBe(200);
    for (let count = 0; count < 20; count++) expect(await attach()).toBe(0);
    // The hub closes the oldest connections beyond 512.
    const total = (await connectionsAt(ports[0] ?? 0)) + (await connectionsAt(ports[1] ?? 0));
    expect(total).toBeLessThanOrEqual(520);
    for (const socket of silent) socket.resume();
    await Promise.all(silent.map((socket) => closed(socket)));
  });

  test('an address that fills TLS connections and sends nothing locks out nobody for long', async () => {
    const filling = Array.from({ length: 512 }, () => tls(hub.port));
    await Promise.all(filling.map((socket) => secured(socket)));
    await eventually('room for a client', async () => (await getRoot()) === 200);
    for (const socket of filling) socket.destroy();
  });

  test('who sends long chains of certificates is refused them, and those in bulk as well', async () => {
    const { key, certificates } = await chainOf(40);
    const long = certificates.join('');
    const senders = Array.from({ length: 40 }, () => tls(hub.mqttPort, { key, cert: long }).resume());
    const served = await meanwhile(Promise.all(senders.map((socket) => closed(socket))), () => getRoot());
    expect(new Set(served)).toEqual(new Set([200]));

    // Chains of accepted length: the hub limits the processor time for the handshakes of one address, and still serves another address.
    const chain = certificates.slice(0, 20).join('');
    const bulk = Array.from({ length: 60 }, () => tls(hub.mqttPort, { key, cert: chain }).resume());
    const letIn = await meanwhile(Promise.all(bulk.map((socket) => closed(socket))), () => attach(BYSTANDER));
    expect(new Set(letIn)).toEqual(new Set([0]));
    expect(hub.program.stdout + hub.program.stderr).toContain('have used up their processor time');
    await eventually('the address to be served again', async () => (await attach()) === 0);
  });

  test('whose CONNECT never ends makes the hub hold 16 KiB of it at most', async () => {
    const before = hub.residentBytes();
    // The header announces 262,140 bytes: the hub refuses the packet because of its length alone.
    const huge = Array.from({ length: 100 }, () => tls(hub.mqttPort, { from: '127.0.0.3' }));
    for (const socket of huge) socket.resume().write(Buffer.from([0x10, 0xfc, 0xff, 0x0f]));
    await Promise.all(huge.map((socket) => closed(socket)));
    // The header announces 16,381 bytes, and all but the last one are sent.
    const slow = Array.from({ length: 400 }, () => tls(hub.mqttPort, { from: '127.0.0.4' }).resume());
    for (const socket of slow) socket.write(Buffer.concat([Buffer.from([0x10, 0xfd, 0x7f]), Buffer.alloc(16_380)]));
    const served = await meanwhile(Promise.all(slow.map((socket) => closed(socket))), () => attach(BYSTANDER));
    expect(new Set(served)).toEqual(new Set([0]));
    expect(hub.residentBytes() - before).toBeLessThan(100 * MIB);
  });
});
