import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvert, culvertCommand, startCulvert } from './support/culvert.ts';
import { sha256File } from './support/digest.ts';
import { freePort, listening, listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { Sshd } from './support/openssh.ts';
import { cleanEnvironment, run } from './support/program.ts';
import { startAgent, startConnect } from './support/proxies.ts';

const MEBIBYTE = 1024 * 1024;
/** A device id as unkind to shells as the grammar allows. */
const UNKIND = "-o$(id);'x'";

const cleanup = new Cleanup();
let hub: HubProcess;
let sshd: Sshd;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  [hub, sshd] = await Promise.all([HubProcess.start(cleanup), Sshd.start(cleanup)]);
  env = cleanEnvironment(hub.serviceEnv());
  for (const deviceId of ['pi', UNKIND]) await startAgent(cleanup, hub, deviceId, [`ssh=127.0.0.1:${sshd.port}`]);
});
afterAll(() => cleanup.run());

/** `culvert ssh` as a person types it. */
function culvertSsh(device: string, ...rest: string[]) {
  return culvert(['ssh', '--', device, '-F', 'none', ...sshd.clientArguments, ...rest], { env });
}

/** The file that `culvert ssh-config` makes. */
async function sshConfig(): Promise<string> {
  const printed = await culvert(['ssh-config'], { env });
  expect(printed, printed.stderr).toMatchObject({ code: 0 });
  const file = join(hub.home, 'ssh_config');
  writeFileSync(file, printed.stdout);
  return file;
}

describe('culvert ssh', () => {
  test('two interactive sessions at once, each with a terminal of its own', async () => {
    const sessions = [1, 2].map(() =>
      startCulvert(cleanup, ['ssh', 'root@pi', '-tt', '-F', 'none', ...sshd.clientArguments], hub.serviceEnv()),
    );
    for (const [index, session] of sessions.entries()) {
      session.child.stdin.write(`PS1=; stty -echo; echo "sum$((${index} + 41)) $(tty)"\n`);
    }
    const terminals = await Promise.all(
      sessions.map(
        async (session, index) => (await session.waitFor(new RegExp(`^sum${index + 41} (/dev/\\S+)`, 'm')))[1],
      ),
    );
    expect(new Set(terminals).size).toBe(2);
    // Both are still there and still answer, in the other order.
    for (const session of sessions.toReversed()) {
      session.child.stdin.write('echo "still $((6 * 7))"\n');
      await session.waitFor(/^still 42/m);
    }
    for (const [index, session] of sessions.entries()) session.child.stdin.write(`exit ${index + 3}\n`);
    expect((await sessions[0]?.end())?.code).toBe(3);
    expect((await sessions[1]?.end())?.code).toBe(4);
  });

  test("ends with ssh's exit code and passes output and input through", async () => {
    expect(await culvertSsh('root@pi', 'echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: expect.stringContaining('err\n'),
    });
    const echoed = await culvert(['ssh', 'root@pi', '-F', 'none', ...sshd.clientArguments, 'cat'], {
      env,
      input: 'through\n',
    });
    expect(echoed).toMatchObject({ code: 0, stdout: 'through\n' });
  });

  test('a device that does not exist is 255, with the reason on stderr', async () => {
    const { code, stderr } = await culvertSsh('root@nobody', 'true');
    expect(code).toBe(255);
    expect(stderr).toMatch(/not registered/i);
  });

  test('no character of a device id reaches a shell', async () => {
    const { code, stdout, stderr } = await culvertSsh(`root@${UNKIND}`, 'echo reached');
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: 'reached\n' });
    const args = ['ssh', '-l', 'root', '--', UNKIND, '-F', 'none', ...sshd.clientArguments, 'echo reached'];
    expect(await culvert(args, { env })).toMatchObject({ code: 0, stdout: 'reached\n' });
  });

  test('ssh -L inside it', async () => {
    const server = createServer((_request, response) => response.end('from behind the device'));
    const target = await listenLocally(cleanup, server);
    const local = await freePort();
    const forward = ['-N', '-L', `127.0.0.1:${local}:127.0.0.1:${target}`, '-o', 'ExitOnForwardFailure=yes'];
    const session = startCulvert(
      cleanup,
      ['ssh', 'root@pi', '-F', 'none', ...forward, ...sshd.clientArguments],
      hub.serviceEnv(),
    );
    await listening(local);
    const answer = await run('curl', ['-sS', '--max-time', '20', `http://127.0.0.1:${local}/`], { env });
    expect(answer).toMatchObject({ code: 0, stdout: 'from behind the device' });
    await session.stop();
  });
});

describe('plain ssh', () => {
  test('through culvert connect, with scp of 100 MB both ways', async () => {
    const { ports } = await startConnect(cleanup, hub, 'pi', ['ssh']);
    const known = join(hub.home, 'known_by_port');
    writeFileSync(known, `[127.0.0.1]:${ports[0]} ${sshd.hostKey()}\n`);
    const options = ['-F', 'none', ...sshd.clientArguments, '-o', `UserKnownHostsFile=${known}`];
    const to = (name: string) => join(hub.home, name);
    writeFileSync(to('original'), randomBytes(100 * MEBIBYTE));
    const hash = await sha256File(to('original'));

    const scp = (...paths: string[]) =>
      run('scp', ['-q', '-P', String(ports[0]), ...options, ...paths], { env, timeoutMs: 120_000 });
    const up = await scp(to('original'), `root@127.0.0.1:${to('uploaded')}`);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(await sha256File(to('uploaded'))).toBe(hash);
    const down = await scp(`root@127.0.0.1:${to('uploaded')}`, to('downloaded'));
    expect(down, down.stderr).toMatchObject({ code: 0 });
    expect(await sha256File(to('downloaded'))).toBe(hash);
  });

  test('through culvert connect --stdio as ProxyCommand', async () => {
    const [node, args] = culvertCommand('connect', '--stdio', '--', '%h', 'ssh');
    const quoted = [node, ...args].map((part) => `'${part}'`).join(' ');
    const known = join(hub.home, 'known_by_name');
    writeFileSync(known, `pi ${sshd.hostKey()}\n`);
    const result = await run(
      'ssh',
      [
        '-F',
        'none',
        ...sshd.clientArguments,
        '-o',
        `UserKnownHostsFile=${known}`,
        '-o',
        `ProxyCommand=${quoted}`,
      ].concat(['root@pi', 'echo proxied; exit 5']),
      { env },
    );
    expect(result, result.stderr).toMatchObject({ code: 5, stdout: 'proxied\n' });
  });

  test('by the block that culvert ssh-config prints', async () => {
    const args = ['-F', await sshConfig(), ...sshd.clientArguments];
    const result = await run('ssh', [...args, 'root@pi.culvert', 'echo configured; exit 9'], { env });
    expect(result, result.stderr).toMatchObject({ code: 9, stdout: 'configured\n' });
  });
});

// Last: it changes the server's host key.
test("a device's host key is kept, and a changed one is refused", async () => {
  expect(await culvertSsh('root@pi', 'true')).toMatchObject({ code: 0 });
  await sshd.changeHostKey();
  const refused = await culvertSsh('root@pi', 'echo must not run');
  expect(refused).toMatchObject({ code: 255, stdout: '' });
  expect(refused.stderr).toContain('REMOTE HOST IDENTIFICATION HAS CHANGED');
  // Keys are kept by device: the same new key is refused for another device that was seen before, accepted for a new one.
  await startAgent(cleanup, hub, 'newcomer', [`ssh=127.0.0.1:${sshd.port}`]);
  expect(await culvertSsh('root@newcomer', 'echo first sight')).toMatchObject({ code: 0, stdout: 'first sight\n' });
  expect(readFileSync(`${sshd.identity}.pub`, 'utf8')).toContain('ssh-ed25519');
});
