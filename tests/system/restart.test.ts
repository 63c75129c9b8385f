import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ServiceClient } from '@culvert/service';
import { ConnectProxy, FaultProxy } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand } from './support/culvert.ts';
import { eventually } from './support/eventually.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program } from './support/program.ts';
import { RAW, type RunningAgent, startAgent, startConnect } from './support/proxies.ts';

/** Milliseconds that the hub gives open streams when it stops: short, so that the test's streams are still open when the time is over. */
const DRAIN_MS = 1_000;
/** Milliseconds within which everything must have recovered: the longest pause between two retries is 30 s. */
const RECOVERY_MS = 60_000;

type Connect = { readonly ports: readonly number[]; readonly program: Program };

const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;
/** A client whose streams are all raw. */
let rawOwner: ServiceClient;
let echo: string;
let agent: RunningAgent;
/** `culvert connect`, whose connections run in a session. */
let local: Connect;
/** `culvert connect --raw`, whose connections have a stream each. */
let raw: Connect;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { config: { drainMs: DRAIN_MS } });
  owner = hub.owner(cleanup);
  rawOwner = hub.owner(cleanup, { session: false });
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  echo = `echo=127.0.0.1:${await listenLocally(cleanup, server)}`;
  agent = await startAgent(cleanup, hub, 'field', [echo]);
  local = await startConnect(cleanup, hub, 'field', ['echo']);
  raw = await startConnect(cleanup, hub, 'field', ['echo'], RAW);
});
afterAll(() => cleanup.run());

/** Opens a local connection, as any program does. */
async function dial(through: Connect): Promise<Socket> {
  const socket = connect({ port: through.ports[0] ?? 0, host: '127.0.0.1' });
  await once(socket, 'connect');
  return socket;
}

/** Makes one round trip through `culvert connect`; throws when the connection ends before the answer. */
async function roundTrip(through: Connect, text: string): Promise<boolean> {
  const socket = await dial(through);
  try {
    return (await echoed(socket, text)) === text;
  } finally {
    socket.destroy();
  }
}

/** Writes a short text and returns what comes back next. */
async function echoed(stream: Duplex, text: string, timeoutMs = 10_000): Promise<string> {
  stream.write(text);
  const [data] = await once(stream, 'data', { signal: AbortSignal.timeout(timeoutMs) });
  return String(data);
}

/** Keeps both directions of a stream busy until it ends. */
function keepBusy(stream: Duplex): { bytes: () => number; ended: Promise<unknown> } {
  let bytes = 0;
  const chunk = Buffer.alloc(16_384, 'x');
  const pump = () => {
    while (!stream.destroyed && stream.writable && stream.write(chunk));
  };
  stream.on('drain', pump).on('data', (part: Buffer) => {
    bytes += part.length;
  });
  const ended = new Promise<unknown>((resolve) => {
    stream.once('error', resolve).once('close', () => resolve(undefined));
  });
  pump();
  return { bytes: () => bytes, ended };
}

describe.each([
  { signal: 'SIGTERM' as const, code: 'draining', exit: 0 },
  { signal: 'SIGKILL' as const, code: 'stream_lost', exit: 137 },
])('the hub ends by $signal', ({ signal, code, exit }) => {
  const recovered = async (text: string) => {
    for (const through of [local, raw])
      expect(await eventually('a round trip', () => roundTrip(through, text), RECOVERY_MS)).toBe(true);
  };

  test('while idle: the proxies recover by themselves', async () => {
    await recovered('before');
    expect(await hub.stop(signal)).toBe(exit);
    await hub.start();
    await recovered('after');
    expect([agent, local, raw].map(({ program }) => program.running)).toEqual([true, true, true]);
  });

  test('while streaming: raw streams end with a reason, and new ones work', async () => {
    await recovered('before');
    const said = { agent: agent.program.stderr.length, connect: raw.program.stderr.length };
    const tunnel = keepBusy(await rawOwner.openStream('field', { name: 'echo' }));
    const socket = await dial(raw);
    const localEnd = keepBusy(socket);
    const [command, args] = culvertCommand('connect', '--stdio', ...RAW, '--', 'field', 'echo');
    const stdio = new Program(command, args, { env: cleanEnvironment(hub.serviceEnv()) });
    cleanup.defer(stdio, () => stdio.stop());
    stdio.child.stdin.write('through stdio\n');
    await stdio.waitFor(/through stdio/);
    await eventually('both streams to run', () => tunnel.bytes() > 1e6 && localEnd.bytes() > 1e6);

    expect(await hub.stop(signal)).toBe(exit);
    expect(await tunnel.ended).toMatchObject({ code });
    expect(await localEnd.ended).toMatchObject({ code: 'ECONNRESET' });
    const { code: exitCode, stderr } = await stdio.end(10_000);
    expect(exitCode).toBe(69);
    const reason = signal === 'SIGTERM' ? /shutting down|restart|stopping|draining/i : /lost|disconnected/i;
    expect(stderr).toMatch(reason);
    await eventually('the agent to tell', () => reason.test(agent.program.stderr.slice(said.agent)));
    await eventually('connect to tell', () => reason.test(raw.program.stderr.slice(said.connect)));

    await hub.start();
    await recovered('after');
  });

  test('while connections are open in sessions: they go on, with what was written meanwhile', async () => {
    await recovered('before');
    const connection = await owner.openStream('field', { name: 'echo' });
    const socket = await dial(local);
    const [command, args] = culvertCommand('connect', '--stdio', '--', 'field', 'echo');
    const stdio = new Program(command, args, { env: cleanEnvironment(hub.serviceEnv()) });
    cleanup.defer(stdio, () => stdio.stop());
    stdio.child.stdin.write('one\n');
    await stdio.waitFor(/one\n/);
    expect([await echoed(connection, 'one'), await echoed(socket, 'one')]).toEqual(['one', 'one']);

    expect(await hub.stop(signal)).toBe(exit);
    const meanwhile = [echoed(connection, 'two', RECOVERY_MS), echoed(socket, 'two', RECOVERY_MS)];
    stdio.child.stdin.write('two\n');
    await hub.start();
    expect(await Promise.all(meanwhile)).toEqual(['two', 'two']);
    await stdio.waitFor(/one\ntwo\n/, RECOVERY_MS);
    for (const stream of [connection, socket]) await once(stream.end(), 'end');
    stdio.child.stdin.end();
    expect((await stdio.end(10_000)).code).toBe(0);
  });
});

describe("the agent's network goes away", () => {
  let network: FaultProxy;
  let remote: RunningAgent;

  beforeAll(async () => {
    const proxy = await ConnectProxy.start();
    cleanup.defer(proxy, () => proxy.stop());
    network = await FaultProxy.start({ port: Number(new URL(proxy.url).port) });
    cleanup.defer(network, () => network.close());
    remote = await startAgent(cleanup, hub, 'far', [echo], {
      env: { HTTPS_PROXY: `http://127.0.0.1:${network.port}` },
    });
  });

  async function works(text: string): Promise<void> {
    const stream = await owner.openStream('far', { name: 'echo' });
    stream.end(text);
    expect(Buffer.concat(await stream.toArray()).toString()).toBe(text);
  }

  test('with resets: raw streams end, and the agent comes back when the network does', async () => {
    await works('before');
    const open = keepBusy(await rawOwner.openStream('far', { name: 'echo' }));
    await eventually('the stream to run', () => open.bytes() > 1e6);
    network.refuse();
    network.cut();
    expect(await open.ended).toMatchObject({ code: 'stream_lost' });
    await eventually(
      'the hub to notice',
      async () => (await owner.devices.get('far')).connectionState === 'Disconnected',
    );
    await expect(rawOwner.openStream('far', { name: 'echo', connectTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'device_offline',
    });
    network.resume();
    await hub.connected(owner, 'far', RECOVERY_MS);
    await works('after');
    expect(remote.program.running).toBe(true);
  });

  test('in silence: presence and raw streams end within two pings, the agent comes back, and a connection in a session goes on', async () => {
    const connection = await owner.openStream('far', { name: 'echo' });
    expect(await echoed(connection, 'before')).toBe('before');
    const stream = await rawOwner.openStream('far', { name: 'echo' });
    expect(await echoed(stream, 'before')).toBe('before');
    const ended = new Promise((resolve) => {
      stream.once('error', resolve).once('close', () => resolve(undefined));
    });
    stream.resume();
    network.blackHole();
    const gone = Date.now();
    await eventually(
      'the hub to notice',
      async () => (await owner.devices.get('far')).connectionState === 'Disconnected',
      60_000,
    );
    expect(await ended).toMatchObject({ code: 'stream_lost' });
    // A ping is sent every 25 s, and two must remain unanswered.
    expect(Date.now() - gone).toBeLessThan(90_000);
    network.cut();
    network.resume();
    await hub.connected(owner, 'far', RECOVERY_MS + 30_000);
    expect(await echoed(connection, 'after', RECOVERY_MS)).toBe('after');
    await once(connection.end(), 'end');
    await works('after');
    expect(remote.program.running).toBe(true);
  }, 240_000);
});
