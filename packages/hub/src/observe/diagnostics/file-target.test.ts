import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sampleRecord } from '../resource-log/log-entry.fixture.ts';
import { FileTarget } from './file-target.ts';

let directory: string;
let path: string;
let target: FileTarget;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-log-'));
  path = join(directory, 'records.jsonl');
});
afterEach(async () => {
  await target.close();
  rmSync(directory, { recursive: true });
});

const names = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(JSON.parse(line).properties).requestName as string);
const bytes = sampleRecord(1).json.length + 1;

describe('a file of records', () => {
  it('is JSON lines for nobody else to read, and goes on after a restart', async () => {
    target = await FileTarget.open({ path, maxBytes: 1_000_000, keep: 2 });
    expect(await target.deliver([sampleRecord(1), sampleRecord(2)])).toBe(0);
    await target.close();
    // What a crash cut off.
    appendFileSync(path, '{"torn":');
    target = await FileTarget.open({ path, maxBytes: 1_000_000, keep: 2 });
    await target.deliver([sampleRecord(3)]);
    const lines = readFileSync(path, 'utf8').split('\n');
    expect(lines.map((line) => line.slice(0, 8))).toEqual(['{"time":', '{"time":', '{"torn":', '{"time":', '']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is put aside when it is full, and as many are kept as are wanted', async () => {
    target = await FileTarget.open({ path, maxBytes: 2 * bytes, keep: 2 });
    for (let n = 1; n <= 9; n++) await target.deliver([sampleRecord(n)]);
    expect(readdirSync(directory).sort()).toEqual(['records.jsonl', 'records.jsonl.1', 'records.jsonl.2']);
    expect([names(path), names(`${path}.1`), names(`${path}.2`)]).toEqual([
      ['stream-9'],
      ['stream-7', 'stream-8'],
      ['stream-5', 'stream-6'],
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is begun again when none is kept', async () => {
    target = await FileTarget.open({ path, maxBytes: bytes, keep: 0 });
    for (let n = 1; n <= 3; n++) await target.deliver([sampleRecord(n)]);
    expect([readdirSync(directory), names(path)]).toEqual([['records.jsonl'], ['stream-3']]);
  });

  it('may be moved away or removed by somebody else', async () => {
    target = await FileTarget.open({ path, maxBytes: 1_000_000, keep: 2 });
    await target.deliver([sampleRecord(1)]);
    renameSync(path, `${path}.old`);
    await target.deliver([sampleRecord(2)]);
    rmSync(path);
    await target.deliver([sampleRecord(3)]);
    expect([names(`${path}.old`), names(path)]).toEqual([['stream-1'], ['stream-3']]);
  });

  it('that cannot be made says why, and takes records again when it can', async () => {
    const elsewhere = join(directory, 'none', 'records.jsonl');
    await expect(FileTarget.open({ path: elsewhere, maxBytes: 1, keep: 1 })).rejects.toMatchObject({ code: 'ENOENT' });
    target = await FileTarget.open({ path, maxBytes: bytes, keep: 1 });
    await target.deliver([sampleRecord(1)]);
    // In the way of the file that is put aside.
    const inTheWay = join(`${path}.1`, 'x');
    mkdirSync(`${path}.1`);
    writeFileSync(inTheWay, '');
    await expect(target.deliver([sampleRecord(2)])).rejects.toThrow(/EISDIR|ENOTEMPTY/);
    rmSync(`${path}.1`, { recursive: true });
    await target.deliver([sampleRecord(2)]);
    expect([names(`${path}.1`), names(path)]).toEqual([['stream-1'], ['stream-2']]);
  });
});
