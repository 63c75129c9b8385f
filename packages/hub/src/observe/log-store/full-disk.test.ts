import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let directory: string;
let child: ChildProcess | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-full-'));
});
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

/** Starts a program whose files cannot grow beyond about a megabyte until `makeRoom` lifts the limit. */
function start(program: string): { line(pattern: RegExp): Promise<RegExpExecArray>; makeRoom(): void } {
  const text = `
    // The kernel sends SIGXFSZ when a file reaches its size limit. With a listener, the write fails and the process goes on.
    process.on('SIGXFSZ', () => {});
    const directory = ${JSON.stringify(directory)};
    const ours = (name) => import(${JSON.stringify(new URL('../../../../', import.meta.url).href)} + name);
    ${program}`;
  const file = join(directory, 'program.mjs');
  writeFileSync(file, text);
  const node = ['--conditions=development', file];
  // 2,000 blocks of 512 or 1,024 bytes. `-S` sets only the soft limit, which can be lifted again.
  const command = ['-c', 'ulimit -S -f 2000; exec "$0" "$@"', process.execPath, ...node];
  const started = spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  child = started;
  if (started.stdout === null) throw new Error('The child has no output.');
  const lines: string[] = [];
  const wakers = new Set<() => void>();
  createInterface({ input: started.stdout }).on('line', (line) => {
    lines.push(line);
    for (const wake of [...wakers]) wake();
  });
  return {
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.map((line) => pattern.exec(line)).find((match) => match !== null);
          if (found === undefined) return;
          wakers.delete(look);
          resolve(found);
        };
        started.once('exit', (code) => reject(new Error(`ended with ${code} without ${pattern}: ${lines.join('\n')}`)));
        wakers.add(look);
        look();
      }),
    makeRoom() {
      const { status } = spawnSync('prlimit', ['--pid', String(started.pid), '--fsize=unlimited']);
      expect(status).toBe(0);
    },
  };
}

// Each test starts a separate process, which is slow on a busy machine.
describe('a full disk', () => {
  it('costs the records that find the queue full, counted and said, and none that waited', async () => {
    const program = start(`
      const { LogStore } = await ours('hub/src/observe/log-store/log-store.ts');
      const { sampleRecord } = await ours('hub/src/observe/resource-log/log-entry.fixture.ts');
      const { systemClock } = await ours('stream/src/index.ts');
      let pushed = 0;
      let failed = false;
      const store = new LogStore({ directory: directory + '/logs', retention: { days: 30, maxBytes: 2 ** 30 },
        clock: systemClock, onEvent: async (event) => {
          console.log(JSON.stringify(event));
          failed = true;
          if (event.type !== 'log-resumed') return;
          let stored = 0;
          for (let after; ; ) {
            const page = await store.list({ order: 'oldest', top: 1000, after });
            stored += page.records.length;
            after = page.next;
            if (after === undefined) break;
          }
          console.log('pushed ' + pushed + ' stored ' + stored + ' lost ' + store.lost);
          await store.close();
          process.exit(0);
        } });
      while (!failed) {
        for (let n = 0; n < 200; n++) store.push(sampleRecord(++pushed));
        // Waits until they are written or cannot be.
        await store.list({ order: 'newest', top: 1 }).catch(() => undefined);
      }
      for (let n = 0; n < 15_000; n++) store.push(sampleRecord(++pushed));
      console.log('ready');`);
    const [, problem] = await program.line(/"log-failed","sink":"store","problem":"([^"]*)"/);
    expect(problem).toMatch(/^The log cannot be written: the disk (is full|reported an error or is full)\.$/);
    await program.line(/^ready$/);
    program.makeRoom();
    const [, resumed] = await program.line(/"log-resumed","sink":"store","lost":(\d+)/);
    const [, pushed, stored, lost] = await program.line(/^pushed (\d+) stored (\d+) lost (\d+)$/);
    // The queue holds 10,000 records, some of which were pushed before the 15,000.
    expect(Number(lost)).toBeGreaterThan(5_000 - 1);
    expect(Number(lost)).toBeLessThan(6_000);
    expect(lost).toBe(resumed);
    expect(Number(stored) + Number(lost)).toBe(Number(pushed));
  });

  it('is nothing to the streams of a hub, and nothing of them is missing when there is room again', async () => {
    const program = start(`
      const { once } = await import('node:events');
      const { DeviceClient } = await ours('device/src/index.ts');
      const { echoOffer, startHub } = await ours('testkit/src/index.ts');
      const test = await startHub({ directory });
      const device = DeviceClient.fromConnectionString(await test.createDevice('d'), { onStream: echoOffer, outbound: test.outbound });
      await device.open();
      const use = async () => {
        const stream = await test.owner.openStream('d', { name: 'echo' });
        stream.write('hello');
        const [answer] = await once(stream, 'data');
        stream.end();
        await once(stream.resume(), 'close');
        return String(answer);
      };
      const failed = () => test.events.some(({ type }) => type === 'log-failed');
      let streams = 0;
      while (!failed()) { await use(); streams++; }
      for (let n = 0; n < 20; n++, streams++) if (await use() !== 'hello') throw new Error('not carried');
      const ended = test.events.filter(({ type }) => type === 'log-failed');
      console.log(JSON.stringify(ended));
      console.log('carried');
      const resumed = await test.event('log-resumed');
      console.log(JSON.stringify(resumed));
      // The hub reports the end of a stream shortly after the clients have seen it.
      const over = () => test.events.filter(({ type }) => type === 'stream-ended').length;
      await test.event('stream-ended', () => over() === streams);
      let closes = 0;
      for await (const record of test.owner.logs.list({ device: 'd', category: 'DeviceStreams' }))
        if (record.operationName === 'streamClose') closes++;
      console.log('streams ' + streams + ' closes ' + closes);
      await device.close();
      await test.stop({ keep: true });
      process.exit(0);`);
    expect((await program.line(/^\[.*log-failed.*/))[0]).toMatch(/^\[\{[^}]*"sink":"store"[^}]*\}\]$/);
    await program.line(/^carried$/);
    program.makeRoom();
    await program.line(/"log-resumed","sink":"store","lost":0/);
    const [, streams, closes] = await program.line(/^streams (\d+) closes (\d+)$/);
    expect(closes).toBe(streams);
    if (child?.exitCode === null) await once(child, 'exit');
  });

  it('leaves no half record in a file, and every record in it once when there is room again', async () => {
    const program = start(`
      const { FileTarget } = await ours('hub/src/observe/diagnostics/file-target.ts');
      const { sampleRecord } = await ours('hub/src/observe/resource-log/log-entry.fixture.ts');
      const target = await FileTarget.open({ path: directory + '/records', maxBytes: 2 ** 30, keep: 0 });
      const batches = Array.from({ length: 100 }, (_, batch) => Array.from({ length: 99 }, (_, n) => sampleRecord(batch * 99 + n)));
      let reported = false;
      for (const batch of batches) {
        for (let taken = false; !taken; ) {
          try {
            await target.deliver(batch);
            taken = true;
          } catch (error) {
            if (!reported) console.log('full ' + error.code);
            reported = true;
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
        }
      }
      await target.close();
      console.log('over');`);
    expect((await program.line(/^full (\w+)$/))[1]).toMatch(/^(EFBIG|ENOSPC)$/);
    program.makeRoom();
    await program.line(/^over$/);
    const lines = readFileSync(join(directory, 'records'), 'utf8').trimEnd().split('\n');
    const names = lines.map((line) => JSON.parse(JSON.parse(line).properties).requestName);
    expect(names).toEqual(Array.from({ length: 9_900 }, (_, n) => `stream-${n}`));
  });
});
