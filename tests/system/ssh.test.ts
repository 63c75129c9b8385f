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
import { scratch } from './support/scratch.ts';

const MEBIBYTE = 1024 * 1024;
/** A device id with characters that are special to shells, as far as the grammar of ids allows them. */
const UNKIND = "-o$(id);'x'";

const cleanup = new Cleanup();
let hub: HubProcess;
let sshd: Sshd;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  [hub, sshd] = await Promise.all([HubProcess.start(cleanup), Sshd.start(cleanup)]);
  env = cleanEnvironment(hub.serviceEnv());
  for (const deviceId of ['pi', UNKIND]) await startSshAgent(deviceId);
});
afterAll(() => cleanup.run());

/** Starts an agent that offers the server as `ssh` and reports the server's host key to the hub. */
function startSshAgent(deviceId: string, at = hub, server = sshd, hostKey = 'host') {
  const args = ['--ssh-host-key', server.hostKeyFile(hostKey)];
  return startAgent(cleanup, at, deviceId, [`ssh=127.0.0.1:${server.port}`], { args });
}

/** Runs `culvert ssh` as a user does who trusts the hub for host keys. */
function culvertSsh(device: string, ...rest: string[]) {
  return culvert(['ssh', '--host-keys=hub', '--', device, '-F', 'none', ...sshd.clientArguments, ...rest], { env });
}

/** Runs `culvert ssh-config` with relative paths and environment variables only, and returns the file it writes. */
async function sshConfig(): Promise<string> {
  writeFileSync(join(hub.home, 'service.txt'), hub.policy('service'), { mode: 0o600 });
  const printed = await culvert(['ssh-config', '--host-keys=hub'], {
    cwd: hub.home,
    env: cleanEnvironment({
      ...{ HOME: hub.home, XDG_STATE_HOME: join(hub.home, 'state') },
      ...{ CULVERT_CONNECTION_STRING_FILE: 'service.txt', CULVERT_CA_FILE: 'hub/ca.pem' },
    }),
  });
  expect(printed, printed.stderr).toMatchObject({ code: 0 });
  const file = join(hub.home, 'ssh_config');
  writeFileSync(file, printed.stdout);
  return file;
}

describe('culvert ssh', () => {
  test('two interactive sessions at once, each with a terminal of its own', async () => {
    const sessions = [1, 2].map(() =>
      startCulvert(
        cleanup,
        ['ssh', '--host-keys=hub', 'root@pi', '-tt', '-F', 'none', ...sshd.clientArguments],
        hub.serviceEnv(),
      ),
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
    // Both sessions are still open and still answer, in reverse order.
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
    const echoed = await culvert(['ssh', '--host-keys=hub', '-F', 'none', ...sshd.clientArguments, 'root@pi', 'cat'], {
      env,
      input: 'through\n',
    });
    expect(echoed).toMatchObject({ code: 0, stdout: 'through\n' });
  });

  test('a way to the device that fails has its own exit code and one line, other codes are those of the command', async () => {
    const wrongKey = {
      CULVERT_CONNECTION_STRING: String(env['CULVERT_CONNECTION_STRING']).replace(/y=.{6}/, 'y=AAAAAA'),
    };
    const away = {
      CULVERT_CONNECTION_STRING: `HostName=127.0.0.1:${await freePort()};SharedAccessKeyName=x;SharedAccessKey=AAAA`,
    };
    await hub.createDevice('offline');
    await startAgent(cleanup, hub, 'no-ssh', ['web=1']);
    for (const mode of ['ask', 'accept-new']) {
      const attempt = (device: string, over: NodeJS.ProcessEnv = {}) =>
        culvert(['ssh', `--host-keys=${mode}`, '-F', 'none', ...sshd.clientArguments, device, 'true'], {
          env: { ...env, ...over },
        });
      const found = [
        [await attempt('root@nobody'), 3, /not registered/],
        [await attempt('root@pi2/x'), 2, /device id/],
        [await attempt('root@pi', wrongKey), 4, /not accepted/],
        [await attempt('root@pi', away), 69, /ECONNREFUSED|refused/],
        [await attempt('root@offline'), 69, /online/],
        [await attempt('root@no-ssh'), 6, /no service 'ssh'/],
      ] as const;
      for (const [ended, code, message] of found) {
        expect(ended, ended.stderr).toMatchObject({ code, stdout: '' });
        expect(ended.stderr).toMatch(message);
        // The key of a device that was reached is told once.
        const lines = ended.stderr.trim().split('\n');
        expect(lines.filter((line) => !line.includes('seen for the first time'))).toHaveLength(1);
      }
    }
    expect(await culvertSsh('root@pi', 'exit 255')).toMatchObject({ code: 255 });
    expect(await culvertSsh('root@pi', 'exit 69')).toMatchObject({ code: 69 });
  });

  test('the first contact asks, and says what the hub says; a device with the same id at another hub is another device', async () => {
    const [other, otherSshd] = await Promise.all([HubProcess.start(cleanup), Sshd.start(cleanup)]);
    await startSshAgent('asked');
    await startSshAgent('asked', other, otherSshd);
    const home = { HOME: join(hub.home, 'asking') };
    const ssh = (at: HubProcess, server: Sshd, over: NodeJS.ProcessEnv = {}) =>
      culvert(['ssh', '-F', 'none', '-i', server.identity, '-o', 'IdentitiesOnly=yes', 'root@asked', 'echo in'], {
        env: cleanEnvironment({ ...at.serviceEnv(), ...home, ...over }),
      });
    const askpass = (answer: string) => {
      const file = join(hub.home, `says-${answer}`);
      writeFileSync(file, `#!/bin/sh\necho "$1" >> '${file}.asked'\necho ${answer}\n`, { mode: 0o755 });
      return { SSH_ASKPASS: file, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: 'none' };
    };
    const refused = await ssh(hub, sshd, askpass('no'));
    expect(refused).toMatchObject({ code: 255, stdout: '' });
    const fingerprint =
      /SHA256:\S+/.exec((await run('ssh-keygen', ['-lf', sshd.hostKeyFile()], {})).stdout)?.[0] ?? '-';
    expect(refused.stderr).toContain(`the hub says that the host keys of asked are ED25519 ${fingerprint}`);
    expect(readFileSync(join(hub.home, 'says-no.asked'), 'utf8')).toContain(fingerprint);
    expect(await ssh(hub, sshd, askpass('yes'))).toMatchObject({ code: 0, stdout: 'in\n' });
    // The host key is stored: nobody is asked, and the hub's key is not needed.
    const again = await ssh(hub, sshd, askpass('no'));
    expect(again).toMatchObject({ code: 0, stdout: 'in\n' });
    expect(again.stderr).not.toContain('hub says');
    // The device at the other hub has its own host key, for which ssh asks separately.
    expect(await ssh(other, otherSshd, askpass('no'))).toMatchObject({ code: 255 });
    expect(await ssh(other, otherSshd, askpass('yes'))).toMatchObject({ code: 0, stdout: 'in\n' });
    expect(await ssh(hub, sshd, askpass('no'))).toMatchObject({ code: 0 });
  });

  test('no character of a device id reaches a shell', async () => {
    const { code, stdout, stderr } = await culvertSsh(`root@${UNKIND}`, 'echo reached');
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: 'reached\n' });
    const args = [
      'ssh',
      '--host-keys=hub',
      '-l',
      'root',
      '--',
      UNKIND,
      '-F',
      'none',
      ...sshd.clientArguments,
      'echo reached',
    ];
    expect(await culvert(args, { env })).toMatchObject({ code: 0, stdout: 'reached\n' });
  });

  test('ssh -L inside it', async () => {
    const server = createServer((_request, response) => response.end('from behind the device'));
    const target = await listenLocally(cleanup, server);
    const local = await freePort();
    const forward = ['-N', '-L', `127.0.0.1:${local}:127.0.0.1:${target}`, '-o', 'ExitOnForwardFailure=yes'];
    const session = startCulvert(
      cleanup,
      ['ssh', '--host-keys=hub', ...forward, '-F', 'none', ...sshd.clientArguments, 'root@pi'],
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
    // A different working directory, and the home of a user who has never used Culvert.
    const anywhere = { cwd: '/', env: cleanEnvironment({ HOME: scratch(cleanup) }) };
    const result = await run('ssh', [...args, 'root@pi.culvert', 'echo configured; exit 9'], anywhere);
    expect(result, result.stderr).toMatchObject({ code: 9, stdout: 'configured\n' });
    expect(readFileSync(join(hub.home, 'ssh_config'), 'utf8')).not.toMatch(/SharedAccessKey|AccessKey=/);
  });

  test('no block is printed with which ssh would need the environment it was made in', async () => {
    const refused = await culvert(['ssh-config'], { env });
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--connection-string-file FILE');
    const local = await culvert(['ssh-config'], {
      env: cleanEnvironment({ HOME: hub.home, CULVERT_DATA_DIR: hub.dataDir }),
    });
    expect(local.stdout).toContain(`'--data-dir=${hub.dataDir}'`);
  });
});

// This test is the last one because it changes the server's host key.
test("a device's host key is kept, and a changed one is refused", async () => {
  expect(await culvertSsh('root@pi', 'true')).toMatchObject({ code: 0 });
  await sshd.changeHostKey();
  const refused = await culvertSsh('root@pi', 'echo must not run');
  expect(refused).toMatchObject({ code: 255, stdout: '' });
  expect(refused.stderr).toContain('REMOTE HOST IDENTIFICATION HAS CHANGED');
  // Host keys are stored per device: the new key is refused for another device that was seen before, and accepted for a new device.
  await startSshAgent('newcomer', hub, sshd, 'other');
  expect(await culvertSsh('root@newcomer', 'echo first sight')).toMatchObject({ code: 0, stdout: 'first sight\n' });
  expect(readFileSync(`${sshd.identity}.pub`, 'utf8')).toContain('ssh-ed25519');
});
