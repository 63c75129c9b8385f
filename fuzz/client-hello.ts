import { once } from 'node:events';
import type { Server } from 'node:https';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { systemClock } from '@culvert/stream';
import { clientHello, deviceCertificate, inRecords, testCertificate } from '@culvert/testkit';
import { createCertificateTls, createHttpsListener } from '../packages/hub/src/listeners/https-listener.ts';
import { UnauthenticatedConnections } from '../packages/hub/src/listeners/unauthenticated-connections.ts';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

// Fuzzes the start of a connection at a main port that requests client certificates for one of its two host names. It sends valid and damaged
// ClientHellos, split anywhere. For every input, the sender must lose its connection and no state may remain; afterwards valid clients of both host
// names must get the right answer.
// `node --conditions=development fuzz/client-hello.ts [--seed N] [--runs N]`

/** How often a sender got a TLS answer, another answer, or nothing before its connection was closed. */
export type FuzzCounts = Record<'tls' | 'other' | 'nothing', number>;

/** Milliseconds within which a client must authenticate at this listener. */
const AUTHENTICATE_MS = 400;

/** Milliseconds after which a connection that is still open counts as stuck. */
const STUCK_MS = 20 * AUTHENTICATE_MS;

/** Number of parallel senders. */
const PARALLEL = 16;

const NAMES = ['main.example', 'devices.example'] as const;

interface ListenerName {
  readonly server: Server;
  readonly port: number;
  readonly unauthenticated: UnauthenticatedConnections;
  readonly ca: string;
}

async function openListener(): Promise<ListenerName> {
  const pair = await testCertificate({ names: NAMES });
  const never = () => Promise.resolve(false);
  const options = { pair, authenticateMs: AUTHENTICATE_MS };
  const unauthenticated = new UnauthenticatedConnections({
    clock: systemClock,
    authenticateMs: AUTHENTICATE_MS,
    maxPerAddress: 512,
    maxTotal: 512,
  });
  const server = createHttpsListener({
    ...{
      ...options,
      unauthenticated,
      clock: systemClock,
      idleMs: 60_000,
      onControl: never,
      onGateway: never,
      onTlsError: () => undefined,
    },
    namedHosts: { names: new Set(['devices.example']), server: createCertificateTls(options) },
    onRequest: (request, response) => {
      unauthenticated.authenticated(request.socket);
      const { socket } = request;
      const shown = socket instanceof TLSSocket && socket.getPeerCertificate().raw !== undefined;
      response.end(shown ? 'shown' : 'not shown');
    },
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, unauthenticated, port: (server.address() as AddressInfo).port, ca: pair.ca };
}

/** ClientHellos as Node sends them. */
async function hellos(): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    found.push(await clientHello({ maxVersion }));
    for (const servername of NAMES)
      found.push(await clientHello({ maxVersion, servername, ALPNProtocols: ['http/1.1'] }));
  }
  return found;
}

function damaged(random: Prng, hello: Buffer): Buffer {
  const bytes = random.chance(0.3) ? inRecords(hello, random.pick([1, 20, 100, 500])) : Buffer.from(hello);
  if (random.chance(0.2)) return bytes;
  for (let count = random.integer(1, 4); count > 0; count--) {
    // The important length fields are near the beginning.
    const at = random.integer(0, random.pick([9, 100, bytes.length]) - 1);
    bytes[Math.min(at, bytes.length - 1)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.integer(0, 255)]);
  }
  if (random.chance(0.2)) return bytes.subarray(0, random.integer(1, bytes.length));
  return random.chance(0.1) ? Buffer.concat([bytes, random.bytes(random.pick([10, 20_000]))]) : bytes;
}

/** Sends bytes in pieces and returns everything received until the hub closes the connection. @throws Error when it does not */
async function send({ port }: ListenerName, random: Prng, bytes: Buffer): Promise<Buffer> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  // A reset also ends the connection.
  socket.on('error', () => undefined);
  let stuck: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    stuck = setTimeout(() => reject(new Error('The sender keeps its connection.')), STUCK_MS);
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const size = random.pick([1, 7, 100, bytes.length, bytes.length]);
  for (let at = 0; at < bytes.length && socket.writable; at += size) {
    socket.write(bytes.subarray(at, at + size));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (random.chance(0.2)) socket.end();
  try {
    await Promise.race([closed, late]);
  } finally {
    clearTimeout(stuck);
    socket.destroy();
  }
  return Buffer.concat(received);
}

/** The listener's answer to a valid client with a certificate. */
async function ask(listener: ListenerName, servername: string, client: { cert: string; key: string }): Promise<string> {
  const { cert, key } = client;
  const socket = connectTls({ host: '127.0.0.1', port: listener.port, ca: listener.ca, servername, cert, key });
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer.split('\r\n\r\n')[1] ?? answer;
}

/**
 * Opens `runs` connections.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzClientHello(seed: number, runs: number): Promise<FuzzCounts> {
  const listener = await openListener();
  const random = new Prng(seed);
  const kept = (await corpus('client-hello', '')).map((text) => Buffer.from(text.toString().replace(/\s/g, ''), 'hex'));
  const whole = await hellos();
  const counts: FuzzCounts = { tls: 0, other: 0, nothing: 0 };
  const cases = Array.from({ length: runs }, (_, run) => ({ run, random: random.fork() }));
  const sender = async () => {
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      const input = kept[next.run] ?? damaged(next.random, next.random.pick(whole));
      const answer = await send(listener, next.random, input).catch((error: Error) => {
        throw new Error(`seed ${seed}, run ${next?.run}: ${error.message} ${input.toString('hex')}`);
      });
      // The types of TLS records: handshake (22) and alert (21).
      counts[answer.length === 0 ? 'nothing' : [22, 21].includes(answer[0] ?? 0) ? 'tls' : 'other']++;
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, sender));
    const client = await deviceCertificate('d1');
    const answers = [await ask(listener, 'devices.example', client), await ask(listener, 'main.example', client)];
    if (answers.join() !== 'shown,not shown') throw new Error(`seed ${seed}: valid clients get ${answers.join()}`);
    const connections = await new Promise((resolve) =>
      listener.server.getConnections((_error, count) => resolve(count)),
    );
    if (connections !== 0 || listener.unauthenticated.size !== 0)
      throw new Error(
        `seed ${seed}: ${connections} connections remain, ${listener.unauthenticated.size} unauthenticated ones.`,
      );
  } finally {
    listener.server.close();
    listener.server.closeAllConnections();
    listener.unauthenticated.destroyAll();
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(5_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzClientHello(seed, runs), null, 2)}\n`);
}
