import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { overWebSocket } from './support/azure/byte-link.ts';
import { parseConnectionString } from './support/azure/credentials.ts';
import { AzureDevice } from './support/azure/device.ts';
import { ENDLESS_DEVICE, startEndlessService } from './support/azure/endless-proxies.ts';
import { csharpOverMqtt } from './support/azure/mqtt-control-channel.ts';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand } from './support/culvert.ts';
import { eventually } from './support/eventually.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';
import { RAW, type RunningAgent, startAgent, startConnect } from './support/proxies.ts';

/** Milliseconds: a little more than the five seconds after which an earlier version cut off an answer. */
const LATE_MS = 6_000;

type Connect = { readonly ports: readonly number[]; readonly program: Program };

const cleanup = new Cleanup();
let hub: HubProcess;
let agent: RunningAgent;
/** `culvert connect` as everybody starts it, whose connections run in a session. */
let inSession: Connect;
/** `culvert connect --raw`. */
let raw: Connect;
/** How the device's server handles the next connection. */
let serve: (socket: Socket) => void = () => undefined;

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts a server that can answer after it has read EOF. */
async function halfOpenServer(onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  return listenLocally(cleanup, server);
}

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { knownPorts: true });
  const target = await halfOpenServer((socket) => serve(socket));
  agent = await startAgent(cleanup, hub, 'press-7', [`raw=127.0.0.1:${target}`], {
    args: ['--half-close-timeout', '8'],
  });
  inSession = await startConnect(cleanup, hub, 'press-7', ['raw']);
  raw = await startConnect(cleanup, hub, 'press-7', ['raw'], RAW);
}, 60_000);
afterAll(() => cleanup.run());

async function failures(of: { device?: string }): Promise<unknown[]> {
  const records: unknown[] = [];
  for await (const record of hub.owner(cleanup).logs.list({ ...of, result: 'failed' })) records.push(record);
  return records;
}

/** Runs `nc -N`, which ends its sending direction at the end of its input and reads until the peer has ended. */
const nc = (to: Connect, input: string) =>
  run('nc', ['-N', '127.0.0.1', String(to.ports[0])], { env: cleanEnvironment(), input, timeoutMs: 60_000 });

describe('through agent, hub and connect', () => {
  test.each([
    ['in a session', () => inSession],
    ['over raw streams', () => raw],
  ] as const)(
    'an answer that begins six seconds after the question’s end arrives, %s',
    async (_how, to) => {
      serve = (socket) =>
        void text(socket)
          .then((question) => later(LATE_MS).then(() => question))
          .then((question) => socket.end(`answer to ${question}`));
      expect(await nc(to(), 'q')).toMatchObject({ code: 0, stdout: 'answer to q' });
    },
    60_000,
  );

  test('an answer that flows for longer arrives whole', async () => {
    const pieces = 16;
    serve = async (socket) => {
      await text(socket);
      for (let i = 0; i < pieces; i++) {
        socket.write(`piece ${i}\n`);
        await later(LATE_MS / (pieces - 2));
      }
      socket.end('end\n');
    };
    const { code, stdout } = await nc(inSession, 'q');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([...Array.from({ length: pieces }, (_, i) => `piece ${i}`), 'end', '']);
  }, 60_000);

  test('the other way round: what is sent six seconds after the device has ended arrives', async () => {
    const received = new Promise<string>((resolve) => {
      serve = (socket) => {
        socket.end('go on');
        void text(socket).then(resolve);
      };
    });
    const client = cleanup.defer(new Program('nc', ['-N', '127.0.0.1', String(inSession.ports[0])]), (program) =>
      program.stop(),
    );
    await eventually('the device’s words', () => client.stdout === 'go on');
    await later(LATE_MS);
    client.child.stdin.end('said late');
    expect(await received).toBe('said late');
    expect(await client.ended).toMatchObject({ code: 0, stdout: 'go on' });
  }, 60_000);

  test('and all of it was told as an end', () => {
    expect(`${agent.program.stderr}${inSession.program.stderr}${raw.program.stderr}`).not.toMatch(/fail|lost|error/i);
  });

  // A connection in a session has no such limit, as TCP has none.
  test('an answer that never comes over a raw stream is a failure for both ends and in the log, not an end', async () => {
    serve = (socket) => void socket.resume();
    const { stdout } = await nc(raw, 'q');
    expect(stdout).toBe('');
    const silence = /sent nothing for 8 s/;
    await eventually(
      'both ends to say why',
      () => silence.test(agent.program.stderr) && silence.test(raw.program.stderr),
    );
    const records = await failures({});
    expect(JSON.stringify(records)).toContain('half_close_timeout');
  }, 60_000);

  test('connect --stdio --raw: a late answer arrives, and one that never comes is exit status 69', async () => {
    serve = (socket) =>
      void text(socket)
        .then(() => later(LATE_MS))
        .then(() => socket.end('late'));
    const [command, args] = culvertCommand('connect', 'press-7', 'raw', '--stdio', ...RAW);
    const env = cleanEnvironment(hub.serviceEnv());
    expect(await run(command, args, { env, input: 'q', timeoutMs: 60_000 })).toMatchObject({ code: 0, stdout: 'late' });
    serve = (socket) => void socket.resume();
    const failed = await run(command, args, { env, input: 'q', timeoutMs: 60_000 });
    expect(failed).toMatchObject({ code: 69, stdout: '' });
    expect(failed.stderr).toMatch(/sent nothing for 8 s/);
  }, 90_000);

  test('connect --stdio: the reader of its output learns the device’s end while its input is open', async () => {
    serve = (socket) => void socket.resume().end('bye');
    const [command, args] = culvertCommand('connect', 'press-7', 'raw', '--stdio');
    const program = cleanup.defer(new Program(command, args, { env: cleanEnvironment(hub.serviceEnv()) }), (it) =>
      it.stop(),
    );
    await once(program.child.stdout, 'end');
    expect(program.stdout).toBe('bye');
    program.child.stdin.end();
    expect((await program.ended).code).toBe(0);
  }, 60_000);
});

describe('through two proxies that send empty messages instead of ending', () => {
  test('three downloads come one after another, each whole', async () => {
    const page = 'x'.repeat(300_000);
    const target = await halfOpenServer((socket) => {
      socket.once('data', () => socket.end(`HTTP/1.0 200 OK\r\ncontent-length: ${page.length}\r\n\r\n${page}`));
    });
    const connectionString = await hub.createDevice('csharp');
    const open = csharpOverMqtt({ hub, device: parseConnectionString(connectionString), link: overWebSocket('mqtt') });
    const device = await AzureDevice.start(cleanup, hub, { open, variant: ENDLESS_DEVICE, target });
    const url = `http://127.0.0.1:${await startEndlessService(cleanup, hub, 'csharp')}/`;
    for (let download = 0; download < 3; download++) {
      const options = { env: cleanEnvironment(), timeoutMs: 70_000 };
      const { code, stdout } = await run('curl', ['-sS', '--max-time', '60', url], options);
      expect([code, stdout === page]).toEqual([0, true]);
    }
    await eventually('the device’s streams to be over', () => device.streams.size === 0);
    expect(device.log.filter((entry) => entry.startsWith('close'))).toEqual(['close 1000', 'close 1000', 'close 1000']);
    expect(await failures({ device: 'csharp' })).toEqual([]);
  }, 120_000);
});
