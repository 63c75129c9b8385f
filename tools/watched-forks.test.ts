import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

let server: Server;
/** The connection of the program that a case has started. It closes when the program ends. */
let lingering: Promise<Socket>;
let run: ChildProcess | undefined;

beforeEach(async () => {
  server = createServer();
  lingering = once(server, 'connection').then(([socket]: Socket[]) => {
    if (socket === undefined) throw new Error('no connection');
    return socket.on('error', () => undefined).resume();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  run?.kill('SIGKILL');
  server.close();
});

/** Starts a test run of one case. Core dumps are disabled, because the crashes are intended. */
function start(name: string) {
  const vitest = [process.execPath, join(root, 'node_modules/vitest/vitest.mjs'), 'run'];
  const args = ['--config', 'tools/cases/vitest.config.ts', `${name}.case.ts`];
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen');
  const { CULVERT_COUNT_FILE: _, ...env } = process.env;
  const child = spawn('/bin/sh', ['-c', 'ulimit -c 0; exec "$@"', 'sh', ...vitest, ...args], {
    cwd: root,
    env: { ...env, CASE_PORT: String(address.port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  run = child;
  return { child, output: text(child.stdout), ended: once(child, 'close') as Promise<[number | null, string | null]> };
}

/** Lets the case continue, and resolves when its program has ended. */
async function death(): Promise<void> {
  const socket = await lingering;
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('seen');
  await closed;
}

test('a worker that dies of a signal is told with its file, and what it started dies with it', async () => {
  const { output, ended } = start('dies');
  await death();
  expect(await ended).toEqual([1, null]);
  expect(await output).toMatch(/^=== tools\/cases\/dies\.case\.ts died of SIGSEGV\n0 passed, 1 failed, 1 skipped$/m);
});

test('a program that a test file leaves behind fails the run and is ended', async () => {
  const { output, ended } = start('forgets');
  await death();
  expect(await ended).toEqual([1, null]);
  expect(await output).toMatch(
    /^=== tools\/cases\/forgets\.case\.ts left a process behind: .*node.* -e .*\n1 passed, 1 failed, 0 skipped$/m,
  );
});

test('what a run has started dies with it, also when it is killed', async () => {
  const { child, ended } = start('hangs');
  const dead = death();
  await lingering;
  child.kill('SIGKILL');
  expect(await ended).toEqual([null, 'SIGKILL']);
  await dead;
});
