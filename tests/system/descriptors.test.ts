import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand } from './support/culvert.ts';
import { eventually } from './support/eventually.ts';
import { freePort, listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, must, Program } from './support/program.ts';
import { startAgent, startConnect } from './support/proxies.ts';

/** Maximum number of open files of the process under test: it uses about 40 for itself, so it can carry about a dozen streams. */
const FEW = 64;
const STREAMS = 60;

const cleanup = new Cleanup();
let hub: HubProcess;
let echo: string;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  echo = `echo=127.0.0.1:${await listenLocally(cleanup, server)}`;
});
afterAll(() => cleanup.run());

/** Opens a local connection and returns the outcome: `served`, or how it was refused. A connection that is served stays open. */
async function attempt(port: number, open: Socket[]): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  open.push(socket);
  socket.write('hello');
  return Promise.race([
    once(socket, 'data').then(
      () => 'served',
      (error: NodeJS.ErrnoException) => error.code ?? 'error',
    ),
    once(socket, 'close').then(
      () => 'refused',
      (error: NodeJS.ErrnoException) => error.code ?? 'error',
    ),
  ]);
}

async function overfill(port: number): Promise<{ served: number; refused: number }> {
  const open: Socket[] = [];
  const results = await Promise.all(Array.from({ length: STREAMS }, () => attempt(port, open)));
  const served = results.filter((result) => result === 'served').length;
  for (const socket of open) socket.destroy();
  return { served, refused: results.length - served };
}

async function recovers(port: number): Promise<void> {
  await eventually('a stream to be served again', async () => {
    const open: Socket[] = [];
    try {
      return (await attempt(port, open)) === 'served';
    } finally {
      for (const socket of open) socket.destroy();
    }
  });
}

test('an agent out of descriptors refuses each stream at once, says why, and recovers', async () => {
  const connectionString = await hub.createDevice('few');
  const agent = new Program(
    'sh',
    ['-c', `ulimit -n ${FEW}; exec "$@"`, 'sh', ...culvertCommand('agent', '--service', echo).flat()],
    {
      env: cleanEnvironment({
        HOME: hub.home,
        CULVERT_DEVICE_CONNECTION_STRING: connectionString,
        CULVERT_CA_FILE: hub.caFile,
      }),
    },
  );
  cleanup.defer(agent, () => agent.stop());
  await hub.connected(hub.owner(cleanup), 'few');
  const { ports, program } = await startConnect(cleanup, hub, 'few', ['echo']);
  const [port = 0] = ports;
  const { served, refused } = await overfill(port);
  expect(served).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
  // Each refusal carried the device's reason; no request timed out while it waited for the other side.
  await program.waitFor(/too many open files|EMFILE/);
  expect(program.stderr).not.toMatch(/did not (come|arrive|join)|handshake|within \d+ s/);
  await recovers(port);
}, 120_000);

test('connect out of descriptors refuses each connection at once, and recovers', async () => {
  await startAgent(cleanup, hub, 'many', [echo]);
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
  const command = culvertCommand('connect', '--', 'many', `echo=127.0.0.1:${port}`).flat();
  const program = new Program('sh', ['-c', `ulimit -n ${FEW}; exec "$@"`, 'sh', ...command], {
    env: cleanEnvironment(hub.serviceEnv()),
  });
  cleanup.defer(program, () => program.stop());
  await program.waitFor(/127\.0\.0\.1:\d+/);
  const { served, refused } = await overfill(port);
  expect(served).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
  expect(program.running).toBe(true);
  await recovers(port);
}, 120_000);

test.each([
  ['hub', 'port'],
  ['gateway of threads', 'gatewayPort'],
] as const)(
  'a %s out of descriptors refuses at once, lives on, and recovers',
  async (_what, which) => {
    const gatewayPort = await freePort();
    const config = which === 'port' ? {} : { gatewayThreads: 2, gatewayListen: `127.0.0.1:${gatewayPort}` };
    const small = await HubProcess.start(cleanup, { config });
    await startAgent(cleanup, small, 'field', [echo]);
    const { ports } = await startConnect(cleanup, small, 'field', ['echo']);
    const port = which === 'port' ? small.port : gatewayPort;
    const { pid } = small.program;
    const limit = readdirSync(`/proc/${pid}/fd`).length + 8;
    await must('prlimit', ['--pid', `${pid}`, `--nofile=${limit}:${limit}`]);

    const open: TLSSocket[] = [];
    const results = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const socket = tlsConnect({ port, host: '127.0.0.1', ca: small.ca });
        open.push(socket);
        return Promise.race([
          once(socket, 'secureConnect').then(
            () => 'taken',
            () => 'refused',
          ),
          once(socket, 'close').then(
            () => 'refused',
            () => 'refused',
          ),
        ]);
      }),
    );
    expect(results.filter((result) => result === 'taken').length).toBeGreaterThan(0);
    expect(results.filter((result) => result === 'refused').length).toBeGreaterThan(0);
    // The process has no free descriptors: a new stream must be refused at once instead of waiting.
    const local: Socket[] = [];
    expect(await attempt(ports[0] ?? 0, local)).not.toBe('served');
    for (const socket of [...open, ...local]) socket.destroy();
    expect(small.program.running).toBe(true);
    await recovers(ports[0] ?? 0);
  },
  120_000,
);
