import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { CULVERT, culvert, culvertCommand, ROOT } from './support/culvert.ts';
import { freePort, listenLocally } from './support/free-port.ts';
import { node20 } from './support/node20.ts';
import { cleanEnvironment, must, Program, run } from './support/program.ts';
import { scratch } from './support/scratch.ts';

let cleanup: Cleanup;
let home: string;
let env: NodeJS.ProcessEnv;

beforeEach(() => {
  cleanup = new Cleanup();
  home = scratch(cleanup);
  env = cleanEnvironment({ HOME: home });
});
afterEach(() => cleanup.run());

function started(command: string, args: readonly string[]): Program {
  return cleanup.defer(new Program(command, args, { cwd: ROOT, env }), (program) => program.stop());
}

/** Returns the commands that the quickstart prints under "Try next", one per indented line. */
function suggestions(output: string): string[] {
  const [, listed = ''] = /Try next[^\n]*\n([\s\S]*?)\n\n(?! {2})/.exec(output) ?? [];
  return listed.split('\n').flatMap((line) => (line.startsWith('  ') ? [line.trim()] : []));
}

describe('npm start', () => {
  test('proves itself, the commands it prints work as they stand, Ctrl-C ends it, and it starts again', async () => {
    const flags = ['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', join(home, 'data')];
    const first = started('npm', ['start', '--silent', '--', ...flags]);
    await first.waitFor(/It works: 1 MiB went through the tunnel/, 90_000);
    await first.waitFor(/Ctrl-C stops it/);

    const commands = suggestions(first.stdout);
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      const tried = started('bash', ['-c', command]);
      // The third command keeps running, as intended: a local proxy, or a login, which has no terminal here.
      const stays = / connect | ssh /.test(command);
      if (stays) await tried.waitFor(/127\.0\.0\.1:\d+|\$|#/, 60_000);
      else expect(await tried.end(), command).toMatchObject({ code: 0 });
      if (command.startsWith('curl')) expect(tried.stdout).toContain('You reached the device <code>demo</code>');
      if (command.includes('device list')) expect(tried.stdout).toMatch(/demo .*Connected/i);
      await tried.stop();
    }

    process.kill(-first.pid, 'SIGINT'); // as a terminal does: to the whole foreground process group
    // npm may exit with 130 whatever its script returns; the exit of the script itself is checked below.
    expect([0, 130]).toContain((await first.end(30_000)).code);
    expect(first.stderr).toContain('stopping');

    const [command, args] = culvertCommand('quickstart', ...flags);
    const second = started(command, args);
    await second.waitFor(/It works/, 60_000);
    await second.waitFor(/Ctrl-C stops it/);
    second.signal('SIGINT');
    expect((await second.end(30_000)).code).toBe(0);
  });

  test('a port that is taken: one line, and nothing is left running', async () => {
    const port = await listenLocally(cleanup, createServer());
    const { code, stdout, stderr } = await culvert(
      ['quickstart', '--listen', `127.0.0.1:${port}`, '--data-dir', join(home, 'data')],
      { env },
    );
    expect(stderr).toMatch(new RegExp(`^culvert: .*127\\.0\\.0\\.1:${port} is in use.*\\n$`));
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });
});

test('installed globally it prints the command as its user has it, and that works', async () => {
  // The layout that `npm install --global` creates: a link in a directory of PATH.
  const bin = join(home, 'bin');
  mkdirSync(bin);
  symlinkSync(CULVERT, join(bin, 'culvert'));
  const PATH = `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const options = { cwd: home, env: { ...env, PATH } };
  const listen = `127.0.0.1:${await freePort()}`;
  const running = new Program('culvert', ['quickstart', '--listen', listen, '--data-dir', join(home, 'data')], options);
  cleanup.defer(running, (program) => program.stop());
  await running.waitFor(/Ctrl-C stops it/, 90_000);
  const command = suggestions(running.stdout).find((line) => line.includes('device list')) ?? '';
  expect(command).toBe(`culvert device list --data-dir ${join(home, 'data')}`);
  expect(await must('bash', ['-c', command], options)).toMatch(/demo .*Connected/i);
});

test('a hub whose port is taken: one line that names the flag', async () => {
  const port = await listenLocally(cleanup, createServer());
  const admin = `127.0.0.1:${await freePort()}`;
  const args = ['--listen', `127.0.0.1:${port}`, '--admin-listen', admin, '--data-dir', join(home, 'data')];
  const { code, stderr } = await culvert(['hub', ...args], { env });
  expect(stderr).toBe(
    `culvert: 127.0.0.1:${port} is taken by another program: stop that one, or choose another address with --listen (listen in the configuration file).\n`,
  );
  expect(code).toBe(78);
});

describe.each(['quickstart', 'hub'])('culvert %s', (command) => {
  const start = async (dataDir: string) => {
    const admin = command === 'hub' ? ['--admin-listen', `127.0.0.1:${await freePort()}`] : [];
    const listen = `127.0.0.1:${await freePort()}`;
    return culvert([command, '--listen', listen, ...admin, '--data-dir', dataDir], { env, timeoutMs: 60_000 });
  };

  test('a data directory that cannot be made: one line', async () => {
    const file = join(home, 'file');
    writeFileSync(file, '');
    const { code, stderr } = await start(join(file, 'data'));
    expect(stderr).toMatch(/^culvert: .*file\/data.*\n$/);
    expect(code).toBe(78);
  });

  test('a full disk: one line', async () => {
    const disk = join(home, 'disk');
    mkdirSync(disk);
    await must('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=0700', 'culvert-test', disk]);
    cleanup.defer(disk, () => must('umount', [disk]));
    const { code, stderr } = await start(join(disk, 'data'));
    expect(stderr).toMatch(/^culvert: .*(full|space|ENOSPC).*\n$/i);
    expect(code).not.toBe(0);
  });
});

test('a Node that is too old: one line that says which is needed', async () => {
  const node = await node20(cleanup);
  const version = (await must(node, ['--version'])).trim();
  const { code, stderr } = await run(node, [CULVERT, 'hub'], { env });
  expect(stderr).toBe(`culvert: Node 22.19 or newer is needed; this is Node ${version.slice(1)}\n`);
  expect(code).toBe(78);
});

test('a data directory that another hub uses: one line', async () => {
  const flags = async () => [
    ...['hub', '--data-dir', join(home, 'data'), '--listen', `127.0.0.1:${await freePort()}`],
    ...['--admin-listen', `127.0.0.1:${await freePort()}`],
  ];
  const [command, args] = culvertCommand(...(await flags()));
  const first = started(command, args);
  await first.waitFor(/hub-started/);
  const { code, stderr } = await culvert(await flags(), { env });
  expect(stderr).toMatch(/^culvert: Another hub is running on .*\n$/);
  expect(code).not.toBe(0);
  expect(first.running).toBe(true);
  first.signal('SIGTERM');
  await once(first.child, 'exit');
});
