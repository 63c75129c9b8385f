import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@culvert/stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from './open-store.ts';

const listener = { identityChanged() {}, authoritiesChanged() {}, policyChanged() {} };
let directory: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-crash-'));
});

afterEach(async () => {
  child?.kill('SIGKILL');
  await rm(directory, { recursive: true });
});

/** Starts a process that runs `program`, with an open store as `store` and a function `write(n)` that writes device `d{n}`. */
async function start(program: string, fileBlocks = 'unlimited'): Promise<ChildProcess> {
  const text = `
    import { openStore } from ${JSON.stringify(new URL('./open-store.ts', import.meta.url).href)};
    // At the file size limit, the kernel sends this signal, which ends the process; with a listener, the write fails instead.
    process.on('SIGXFSZ', () => {});
    const listener = { identityChanged() {}, authoritiesChanged() {}, policyChanged() {} };
    const store = await openStore({ directory: ${JSON.stringify(directory)}, listener,
      clock: { now: Date.now, setTimer: (ms, callback) => { const timer = setTimeout(callback, ms); return { cancel: () => clearTimeout(timer) }; } } });
    const write = (n) => store.registry.put({ deviceId: 'd' + n, generationId: 'g', status: 'enabled',
      statusReason: 'x'.repeat(1000), statusUpdatedAt: 0, createdAt: 0, updatedAt: 0, managedBy: null, iotEdge: false, sshHostKeys: [],
      authentication: { type: 'sas', primaryKey: 'k', secondaryKey: 'k' } },
      { kind: 'absent' });
    ${program}`;
  const file = join(directory, 'writer.mjs');
  await writeFile(file, text);
  const command = ['-c', `ulimit -f ${fileBlocks}; exec "$0" "$@"`, process.execPath, '--conditions=development', file];
  return spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function lines(process: ChildProcess, onLine: (line: string) => void): Promise<void> {
  if (process.stdout === null) throw new Error('The child has no output.');
  const exited = once(process, 'exit');
  for await (const line of createInterface({ input: process.stdout })) onLine(line);
  await exited;
}

/** The acknowledged devices that are missing after a restart on the same directory. */
async function lost(acknowledged: readonly string[]): Promise<string[]> {
  const store = await openStore({ directory, listener, clock: systemClock });
  const kept = new Set<string>();
  let after = '';
  for (;;) {
    const page = await store.registry.list({ after, limit: 10_000 });
    if (page.length === 0) break;
    for (const { deviceId } of page) kept.add(deviceId);
    after = page.at(-1)?.deviceId ?? '';
  }
  expect((await store.registry.count()).total).toBe(kept.size);
  await store.close();
  const database = new DatabaseSync(join(directory, 'registry.db'));
  expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
  database.close();
  return acknowledged.filter((id) => !kept.has(id));
}

// Three processes are started, and the store is opened again three times: slow on a busy machine.
describe('a hub that dies or runs out of disk', () => {
  it('loses nothing it has acknowledged to kill -9 amid writes, time after time', async () => {
    const acknowledged: string[] = [];
    for (const [round, enough] of [100, 700, 1_500].entries()) {
      const first = round * 1_000_000;
      const writer = await start(`
        let next = ${first};
        const lane = async () => { for (;;) { const n = next++; await write(n); console.log('d' + n); } };
        await Promise.all(Array.from({ length: 40 }, lane));`);
      child = writer;
      let count = 0;
      await lines(writer, (line) => {
        acknowledged.push(line);
        if (++count === enough) writer.kill('SIGKILL');
      });
      expect(writer.signalCode).toBe('SIGKILL');
      expect(count).toBeGreaterThanOrEqual(enough);
      expect(await lost(acknowledged)).toEqual([]);
    }
  });

  it('fails the write that does not fit on the disk, keeps reading, and keeps what it has acknowledged', async () => {
    const output: string[] = [];
    // A file may have 2,000 blocks of 512 or 1,024 bytes: the write-ahead log reaches this after some dozens of writes.
    child = await start(
      `
      let n = 0;
      try {
        for (;; n++) { await write(n); console.log('d' + n); }
      } catch (error) {
        console.log('!' + error.code + ' ' + error.message);
      }
      const results = await Promise.allSettled([write(n), store.registry.get({ deviceId: 'd0' }), write(n + 1)]);
      console.log('!' + results.map(({ status }) => status).join(' '));
      console.log('!' + (await store.registry.get({ deviceId: 'd0' })).deviceId);
      await store.close();`,
      '2000',
    );
    await lines(child, (line) => output.push(line));
    expect(child.exitCode).toBe(0);
    const said = output.filter((line) => line.startsWith('!'));
    expect(said[0]).toMatch(/^!internal The registry failed: the disk (is full|reported an error or is full)\.$/);
    expect(said.at(-1)).toBe('!d0');
    const acknowledged = output.filter((line) => !line.startsWith('!'));
    expect(acknowledged.length).toBeGreaterThan(20);
    expect(await lost(acknowledged)).toEqual([]);
  });
});
