import { once } from 'node:events';
import { createServer, connect as dial, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand, startCulvert } from './support/culvert.ts';
import { eventually } from './support/eventually.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program } from './support/program.ts';
import { type RunningAgent, startAgent, startConnect } from './support/proxies.ts';

const cleanup = new Cleanup();
let hub: HubProcess;
let target: string;
let agent: RunningAgent;
let connect: Program;
let port: number;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
  target = `echo=127.0.0.1:${await listenLocally(cleanup, server)}`;
  agent = await startAgent(cleanup, hub, 'field', [target]);
  ({
    program: connect,
    ports: [port = 0],
  } = await startConnect(cleanup, hub, 'field', ['echo']));
});
afterAll(() => cleanup.run());

/** Opens a connection through `culvert connect`; resolves when an echo has come back. */
async function echoing(): Promise<Socket> {
  const socket = dial(port, '127.0.0.1');
  socket.write('hello');
  await once(socket, 'data');
  return socket;
}

function restartAgent(): Program {
  return startCulvert(cleanup, ['agent', '--service', target], {
    HOME: hub.home,
    CULVERT_DEVICE_CONNECTION_STRING: agent.connectionString,
    CULVERT_CA_FILE: hub.caFile,
  });
}

// An agent that is told to stop waits ten seconds for its open streams; a second signal stops it at once.
test.each([
  {
    how: 'is stopped',
    signals: ['SIGTERM', 'SIGTERM'],
    reason: /The agent was stopped/,
  },
  {
    how: 'is killed',
    signals: ['SIGKILL'],
    reason: /The device no longer knows the session: its agent was restarted/,
  },
] as const)(
  'an agent that $how and started again ends its connections, and their users see why',
  async ({ signals, reason }) => {
    let running = agent.program.running ? agent.program : restartAgent();
    await hub.connected(hub.owner(cleanup), 'field');
    const socket = await echoing();
    const reset = once(socket, 'error');
    const [command, args] = culvertCommand('connect', '--stdio', '--', 'field', 'echo');
    const stdio = cleanup.defer(new Program(command, args, { env: cleanEnvironment(hub.serviceEnv()) }), (program) =>
      program.stop(),
    );
    stdio.child.stdin.write('through stdio\n');
    await stdio.waitFor(/through stdio/);
    const said = connect.stderr.length;

    for (const signal of signals) {
      running.signal(signal);
      if (signals.length > 1) await running.waitFor(/stopping when/);
    }
    await running.ended;
    running = restartAgent();

    // A reset, not an end: what was cut off never looks complete.
    expect(await reset).toMatchObject([{ code: 'ECONNRESET' }]);
    await eventually('connect to say why', () => reason.test(connect.stderr.slice(said)));
    expect(connect.stderr.slice(said)).toMatch(/\[\d+\] echo failed: \S+/);
    const ended = await stdio.end();
    expect(ended.code).toBe(69);
    expect(ended.stderr).toMatch(reason);
    // Programs that connect again reach the new agent.
    const again = await eventually('an echo of the new agent', () => echoing());
    again.destroy();
    await running.stop();
  },
);
