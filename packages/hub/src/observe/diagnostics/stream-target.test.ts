import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { sampleRecord } from '../resource-log/log-entry.fixture.ts';
import { StreamTarget } from './stream-target.ts';

const never = new AbortController().signal;

describe('records to a stream', () => {
  it('are JSON lines, and one batch waits until its reader has taken it', async () => {
    let take: () => void = () => undefined;
    let text = '';
    const slow = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        take = done;
      },
    });
    const target = new StreamTarget(slow);
    let delivered = false;
    const batch = target.deliver([sampleRecord(1), sampleRecord(2)], never).then((refused) => {
      delivered = true;
      return refused;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(delivered).toBe(false);
    take();
    expect(await batch).toBe(0);
    expect(text).toBe(`${sampleRecord(1).json}\n${sampleRecord(2).json}\n`);
    await target.close();
    expect([slow.destroyed, slow.listenerCount('error')]).toEqual([false, 0]);
  });

  it('fail when the reader has gone, now and later', async () => {
    const gone = new PassThrough();
    const target = new StreamTarget(gone);
    gone.destroy(new Error('EPIPE'));
    await expect(target.deliver([sampleRecord(1)], never)).rejects.toThrow();
    await expect(target.deliver([sampleRecord(2)], never)).rejects.toThrow('EPIPE');
    await target.close();
  });

  it('that nobody takes are not waited for when the hub stops', async () => {
    const stuck = new Writable({ write: () => undefined });
    const target = new StreamTarget(stuck);
    const stop = new AbortController();
    const batch = target.deliver([sampleRecord(1)], stop.signal);
    stop.abort(new Error('stop'));
    await expect(batch).rejects.toThrow('stop');
    await target.close();
  });
});

describe('standard output', () => {
  let child: ReturnType<typeof spawn> | undefined;
  afterEach(() => void child?.kill('SIGKILL'));

  it('that is a pipe nobody reads holds up nothing', async () => {
    const text = `
      import { StreamTarget } from ${JSON.stringify(new URL('./stream-target.ts', import.meta.url).href)};
      process.stdout.on('error', () => {});
      const target = new StreamTarget(process.stdout);
      // More than any pipe holds.
      const batch = Array.from({ length: 4_000 }, () => ({ json: 'x'.repeat(999) }));
      const stop = new AbortController();
      let delivered = false;
      const over = target.deliver(batch, stop.signal).then(() => { delivered = true; }, () => undefined);
      process.stderr.write('alive\\n');
      process.stdin.once('data', async () => {
        process.stderr.write('delivered ' + delivered + '\\n');
        stop.abort(new Error('stop'));
        await over;
        await target.close();
        process.exit(0);
      });`;
    const node = ['--conditions=development', '--input-type=module', '-e', text];
    // Open at both ends here, and read at none.
    const directory = mkdtempSync(join(tmpdir(), 'culvert-fifo-'));
    expect(spawnSync('mkfifo', [join(directory, 'fifo')]).status).toBe(0);
    const fifo = openSync(join(directory, 'fifo'), 'r+');
    child = spawn(process.execPath, node, { stdio: ['pipe', fifo, 'pipe'] });
    const { stdin, stderr } = child;
    if (stdin === null || stderr === null) throw new Error('The child has no pipes.');
    let told = '';
    stderr.setEncoding('utf8').on('data', (part: string) => {
      told += part;
    });
    await once(stderr, 'data');
    stdin.write('?');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(told).toBe('alive\ndelivered false\n');
    closeSync(fifo);
    rmSync(directory, { recursive: true });
  });

  it('that is a pipe or a file gets every record', async () => {
    const text = `
      import { StreamTarget } from ${JSON.stringify(new URL('./stream-target.ts', import.meta.url).href)};
      const target = new StreamTarget(process.stdout);
      for (let n = 0; n < 50; n++) await target.deliver([{ json: String(n).repeat(5_000) }], new AbortController().signal);
      await target.close();
      process.exit(0);`;
    const node = ['--conditions=development', '--input-type=module', '-e', text];
    // A shell's pipe, which is one of the kernel's; Node's own are sockets.
    const command = ['-c', '"$0" "$@" | wc -l', process.execPath, ...node];
    child = spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [count] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    expect(count.toString().trim()).toBe('50');
  });
});
