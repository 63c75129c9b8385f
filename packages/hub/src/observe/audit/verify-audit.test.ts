import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditBench, ended } from './audit-log.fixture.ts';
import { verifyAudit } from './verify-audit.ts';

let bench: AuditBench;

beforeEach(() => {
  bench = new AuditBench();
});

afterEach(() => bench.remove());

/** Writes an audit log of `count` streams in several files and closes it, so that the last checkpoint covers all records. */
async function write(count: number, segmentBytes = 4_000): Promise<void> {
  const log = await bench.open({ checkpointRecords: 7, segmentBytes });
  for (let stream = 0; stream < count; stream++) {
    log.observe(ended(`${stream}`, { detail: `détail ${stream % 3}` }));
    if (stream % 2 === 1) await log.settled();
  }
  await log.close();
}

const lines = (file: string) => readFileSync(file, 'utf8').split('\n').slice(0, -1);
const put = (file: string, all: readonly string[]) => writeFileSync(file, all.map((line) => `${line}\n`).join(''));
const only = async () => (await bench.files())[0] as string;
const problems = async () => (await bench.verify()).findings.map(({ line, problem }) => `${line}: ${problem}`);

describe('culvert’s audit record', () => {
  it('says of a changed record which, and where', async () => {
    await write(3, 1_000_000);
    const file = await only();
    writeFileSync(file, readFileSync(file, 'utf8').replace('"streamId":"1"', '"streamId":"7"'));
    expect(await problems()).toEqual(['3: Record 3 was changed: its hash is not that of its content.']);
  });

  it('says of a missing one which', async () => {
    await write(4, 1_000_000);
    const file = await only();
    put(file, lines(file).toSpliced(2, 2));
    expect(await problems()).toEqual(['3: Records 3 to 4 are missing before record 5.']);
  });

  it('says of a moved one where it does not belong', async () => {
    await write(4, 1_000_000);
    const file = await only();
    const all = lines(file);
    put(file, [...all.slice(0, 2), all[3] as string, all[2] as string, ...all.slice(4)]);
    expect(await problems()).toEqual([
      '3: Record 3 is missing before record 4.',
      '4: Record 3 is out of order: record 5 belongs here.',
      '5: Record 4 is missing before record 5.',
    ]);
  });

  it('says of a cut end from where, by the last checkpoint', async () => {
    await write(4, 1_000_000);
    const file = await only();
    put(file, lines(file).slice(0, 3));
    expect(await problems()).toEqual([
      'undefined: Records 4 to 6 are cut off: record 6 was signed on 2026-01-01T12:00:00.000Z.',
    ]);
  });

  it('that was written again, hashes and all, is not what was signed', async () => {
    await write(4, 1_000_000);
    const kept = join(bench.directory, 'kept.jsonl');
    copyFileSync(join(bench.directory, 'checkpoints.jsonl'), kept);
    for (const file of [await only(), join(bench.directory, 'checkpoints.jsonl')]) rmSync(file);
    const forged = await bench.open();
    for (let stream = 0; stream < 5; stream++) forged.observe(ended(`forged ${stream}`));
    await forged.close();
    // The forged log matches its own checkpoints, but not the copy that was kept elsewhere.
    expect((await bench.verify()).findings).toEqual([]);
    const verdict = await verifyAudit({
      files: await bench.files(),
      checkpointFiles: [kept],
      publicKey: bench.keys.publicKey,
    });
    expect(verdict.findings).toMatchObject([
      { line: 3, problem: expect.stringContaining('was rewritten') },
      { line: 6, problem: expect.stringContaining('was rewritten') },
    ]);
  });

  it('that no checkpoint vouches for is a finding, unless one is content with that', async () => {
    await write(4, 1_000_000);
    const files = await bench.files();
    rmSync(join(bench.directory, 'checkpoints.jsonl'));
    const unsigned = /No checkpoint vouches for these records: there is no file of checkpoints/;
    expect(await problems()).toEqual([expect.stringMatching(unsigned)]);
    // The log is written again with a different key.
    rmSync(files[0] as string);
    const forged = await bench.open({ keys: generateKeyPairSync('ed25519') });
    forged.observe(ended('forged'));
    await forged.close();
    const own = join(bench.directory, 'checkpoints.jsonl');
    rmSync(own);
    expect(await problems()).toEqual([expect.stringMatching(unsigned)]);
    const audit = { files: await bench.files(), checkpointFiles: [], publicKey: bench.keys.publicKey };
    expect((await verifyAudit({ ...audit, allowUnsigned: true })).findings).toEqual([]);
    writeFileSync(own, '');
    expect(await problems()).toEqual([expect.stringContaining(`there is none of them in ${own}`)]);
  });

  it('takes no checkpoint of another key, nor a changed one', async () => {
    await write(2);
    const file = join(bench.directory, 'checkpoints.jsonl');
    const otherKey = generateKeyPairSync('ed25519').publicKey;
    const foreign = await verifyAudit({ files: await bench.files(), checkpointFiles: [file], publicKey: otherKey });
    const problem = 'The checkpoint was signed with another key.';
    expect(foreign.findings).toMatchObject([
      { line: 1, problem },
      { line: 2, problem },
    ]);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"seq":\d/, '"seq":2'));
    expect(await problems()).toEqual(['1: The checkpoint bears a signature that is not the hub’s.']);
  });

  it('may begin later when the files before were put away and that is said', async () => {
    await write(8, 1_000);
    const files = (await bench.files()).slice(1);
    const [, seq] = /(\d{12})-/.exec(files[0] as string) ?? [];
    const audit = { files, checkpointFiles: [], publicKey: bench.keys.publicKey, allowUnsigned: true };
    expect((await verifyAudit(audit)).findings).toMatchObject([{ problem: expect.stringContaining('missing') }]);
    expect((await verifyAudit({ ...audit, fromSeq: Number(seq) })).findings).toEqual([]);
  });

  it('is never found whole when it was changed, however: any one byte, line, pair of lines or end', async () => {
    await write(23);
    const files = await bench.files();
    const whole = new Map(files.map((file) => [file, readFileSync(file)]));
    expect(await problems()).toEqual([]);
    const file = fc.nat({ max: files.length - 1 }).map((index) => files[index] as string);
    const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const harm = fc.oneof(
      fc.record({ kind: fc.constant('byte' as const), file, at: part, to: fc.nat({ max: 255 }) }),
      fc.record({ kind: fc.constant('insert' as const), file, at: part, to: fc.nat({ max: 255 }) }),
      fc.record({ kind: fc.constant('cut byte' as const), file, at: part, to: fc.constant(0) }),
      fc.record({ kind: fc.constant('delete' as const), file, at: part, to: fc.constant(0) }),
      fc.record({ kind: fc.constant('double' as const), file, at: part, to: fc.constant(0) }),
      fc.record({ kind: fc.constant('swap' as const), file, at: part, to: fc.nat({ max: 100 }) }),
      fc.record({ kind: fc.constant('cut off' as const), file, at: part, to: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(harm, async ({ kind, file: harmed, at, to }) => {
        const before = whole.get(harmed) as Buffer;
        const index = Math.floor(at * before.length);
        const all = lines(harmed);
        const row = Math.floor(at * all.length);
        const other = to % all.length;
        if (kind === 'byte') {
          const bytes = Buffer.from(before);
          bytes[index] = to;
          writeFileSync(harmed, bytes);
        } else if (kind === 'insert') {
          writeFileSync(harmed, Buffer.concat([before.subarray(0, index), Buffer.of(to), before.subarray(index)]));
        } else if (kind === 'cut byte') {
          writeFileSync(harmed, Buffer.concat([before.subarray(0, index), before.subarray(index + 1)]));
        } else if (kind === 'delete') put(harmed, all.toSpliced(row, 1));
        else if (kind === 'double') put(harmed, all.toSpliced(row, 0, all[row] as string));
        else if (kind === 'swap') put(harmed, all.with(row, all[other] as string).with(other, all[row] as string));
        else {
          // Cut off everything from this byte on, including the later files.
          writeFileSync(harmed, before.subarray(0, index));
          for (const later of files.slice(files.indexOf(harmed) + 1)) rmSync(later);
        }
        const same = files.every((path) => path !== harmed || readFileSync(path).equals(before)) && kind !== 'cut off';
        const { findings } = await bench.verify();
        for (const [path, bytes] of whole) writeFileSync(path, bytes);
        expect(findings.length > 0).toBe(!same);
      }),
      { numRuns: 250 },
    );
  });

  it('reads what is no record at all as such, and does not fall over', async () => {
    await write(1);
    const file = await only();
    for (const line of [
      '{',
      '[]',
      '{"seq":1}',
      `{"at":"","hash":"","prev":"","seq":9,"type":"log-closed","x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
      '\u0000'.repeat(100),
    ]) {
      appendFileSync(file, `${line}\n`);
    }
    expect((await bench.verify()).findings).toHaveLength(5);
  });
});
