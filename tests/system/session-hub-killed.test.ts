import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvertCommand, ROOT } from './support/culvert.ts';
import { EXCHANGE, exchangeMoves, exchangePort, expectByteExact } from './support/exchange.ts';
import { freePort } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { expectTold, LINK_LINES } from './support/link-lines.ts';
import { Sshd } from './support/openssh.ts';
import { cleanEnvironment, Program } from './support/program.ts';
import { startAgent, startConnect } from './support/proxies.ts';
import { SshShell } from './support/ssh-shell.ts';

const MEBIBYTE = 1024 * 1024;
/** A module that makes the gateway threads of a hub fail on SIGUSR2. */
const FAILING_THREADS = pathToFileURL(join(ROOT, 'tests/system/programs/failing-gateway-threads.mjs')).href;

/** Starts a program that is stopped at the end of the tests. */
function start(cleanup: Cleanup, env: NodeJS.ProcessEnv, command: string, args: readonly string[]): Program {
  return cleanup.defer(new Program(command, args, { env: cleanEnvironment(env) }), (program) => program.stop());
}

/** Both ends of a hub that is about to be disturbed: an exchange through `culvert connect` and a shell of `culvert ssh`. */
async function startEnds(cleanup: Cleanup, hub: HubProcess) {
  const sshd = await Sshd.start(cleanup);
  const server = start(cleanup, {}, process.execPath, [EXCHANGE, 'listen', '0']);
  const targets = [`ssh=127.0.0.1:${sshd.port}`, `exchange=127.0.0.1:${await exchangePort(server)}`];
  const agent = await startAgent(cleanup, hub, 'field', targets);
  const { ports, program: connect } = await startConnect(cleanup, hub, 'field', ['exchange']);
  const client = start(cleanup, {}, process.execPath, [EXCHANGE, 'dial', String(ports[0])]);
  const options = ['-tt', '-F', 'none', ...sshd.clientArguments];
  const ssh = start(
    cleanup,
    hub.serviceEnv(),
    ...culvertCommand('ssh', '--host-keys=accept-new', 'root@field', ...options),
  );
  const shell = new SshShell(ssh);
  const login = await shell.identity();
  await exchangeMoves(client, server, MEBIBYTE);
  return { agent: agent.program, connect, client, server, ssh, shell, login };
}

/** Expects the shell to be the same, every byte of the exchange to arrive, and all users to have been told `times` that the link was lost and is back. */
async function expectSurvival(ends: Awaited<ReturnType<typeof startEnds>>, times: number): Promise<void> {
  const { agent, connect, client, server, ssh, shell, login } = ends;
  expect(await shell.identity()).toBe(login);
  await expectByteExact(client, server);
  expectTold(connect, LINK_LINES.connect, times);
  expectTold(ssh, LINK_LINES.connect, times);
  expectTold(agent, LINK_LINES.agent, 2 * times);
  expect(await shell.exit(3)).toBe(3);
}

describe('a hub with its gateway in the same process', () => {
  const cleanup = new Cleanup();
  let hub: HubProcess;
  beforeAll(async () => {
    hub = await HubProcess.start(cleanup);
  });
  afterAll(() => cleanup.run());

  test('is killed and started again, twice, then told to restart: ssh goes on, and every byte of a transfer both ways arrives', async () => {
    const ends = await startEnds(cleanup, hub);
    for (const signal of ['SIGKILL', 'SIGKILL', 'SIGTERM'] as const) {
      await hub.stop(signal);
      await hub.start();
      await exchangeMoves(ends.client, ends.server, MEBIBYTE);
      expect(await ends.shell.identity()).toBe(ends.login);
    }
    await expectSurvival(ends, 3);
  });
});

describe('a hub with gateway threads on a port of their own', () => {
  const cleanup = new Cleanup();
  let hub: HubProcess;
  beforeAll(async () => {
    hub = await HubProcess.start(cleanup, {
      config: { gatewayThreads: 2, gatewayListen: `127.0.0.1:${await freePort()}` },
      env: { NODE_OPTIONS: `--import=${FAILING_THREADS}` },
    });
  });
  afterAll(() => cleanup.run());

  test('loses all its gateway threads, then is killed as a whole: ssh goes on, and every byte arrives', async () => {
    const ends = await startEnds(cleanup, hub);
    hub.program.signal('SIGUSR2');
    for (const thread of [0, 1])
      await hub.program.waitFor(new RegExp(`"thread":${thread}.*"msg":"gateway-thread-replaced"`));
    await ends.connect.waitFor(LINK_LINES.connect.back);
    await exchangeMoves(ends.client, ends.server, MEBIBYTE);
    expect(await ends.shell.identity()).toBe(ends.login);
    await hub.stop('SIGKILL');
    await hub.start();
    await exchangeMoves(ends.client, ends.server, MEBIBYTE);
    await expectSurvival(ends, 2);
  });
});
