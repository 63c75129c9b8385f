import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@culvert/stream';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeAbandoned, withFileLock } from './file-lock.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-lock-'));
  file = join(directory, 'file');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('a file lock', () => {
  it('lets one action run at a time, and is gone afterwards, also when the action fails', async () => {
    let running = 0;
    let most = 0;
    const action = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    await Promise.all(Array.from({ length: 5 }, () => withFileLock(file, systemClock, action)));
    expect(most).toBe(1);
    await expect(withFileLock(file, systemClock, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(readdirSync(directory)).toEqual([]);
  });

  it('says so when another program has taken it over, and leaves that one its lock', async () => {
    const lost = withFileLock(file, systemClock, async (lock) => {
      await lock.assertHeld();
      writeFileSync(`${file}.lock`, 'another program');
      await lock.assertHeld();
    });
    await expect(lost).rejects.toMatchObject({ code: 'internal', message: expect.stringContaining('try again') });
    expect(readFileSync(`${file}.lock`, 'utf8')).toBe('another program');
  });

  it('is not removed when another program has taken it after it was found abandoned', async () => {
    writeFileSync(`${file}.lock`, 'a living program');
    await removeAbandoned(`${file}.lock`, 'a killed program');
    expect(readFileSync(`${file}.lock`, 'utf8')).toBe('a living program');
    await removeAbandoned(`${file}.lock`, 'a living program');
    await removeAbandoned(`${file}.lock`, 'a living program');
    expect(readdirSync(directory)).toEqual([]);
  });

  it('is waited for at most fifteen seconds when other programs take it one after the other', async () => {
    const clock = new FakeClock();
    let isOver = false;
    writeFileSync(`${file}.lock`, 'program 0');
    const waiting = withFileLock(file, clock, () => Promise.resolve()).then(
      () => 'taken',
      (error: unknown) => error,
    );
    void waiting.then(() => {
      isOver = true;
    });
    for (let turn = 1; !isOver; ) {
      if (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
      else {
        writeFileSync(`${file}.lock`, `program ${Math.floor(turn++ / 50)}`);
        await clock.advance(20);
      }
    }
    expect(await waiting).toMatchObject({ code: 'config_invalid', message: expect.stringContaining(`${file}.lock`) });
    expect(clock.now() - Date.UTC(2026, 0, 1)).toBe(15_000);
  });
});
