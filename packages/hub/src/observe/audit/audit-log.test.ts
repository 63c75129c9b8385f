import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditBench, ended } from './audit-log.fixture.ts';
import { type AuditLog, MAX_WAITING_RECORDS } from './audit-log.ts';

let bench: AuditBench;

beforeEach(() => {
  bench = new AuditBench();
});

afterEach(() => bench.remove());

const types = async () => (await bench.records()).map(({ type }) => type);

describe('the audit record', () => {
  it('keeps streams and changes of who may do what, each chained to the one before', async () => {
    const log = await bench.open();
    log.observe(ended('1', { moduleId: 'camera', detail: 'a\nb\u202e' }));
    log.observe({ type: 'registry-changed', change: 'created', deviceId: 'd', principal: 'policy:iothubowner' });
    log.observe({ type: 'policy-rotated', policy: 'service', principal: 'policy:iothubowner' });
    log.observe({ type: 'authority-changed', change: 'added', authority: 'factory', principal: 'policy:iothubowner' });
    // Events that unauthenticated clients can cause at any rate are not recorded.
    const refused = { listener: 'rest', remoteAddress: '192.0.2.9', error: 'unauthorized', detail: '' } as const;
    log.observe({ type: 'connection-refused', ...refused });
    await log.close();
    const records = await bench.records();
    expect(records.map(({ type }) => type)).toEqual([
      'log-opened',
      'stream-ended',
      'registry-changed',
      'policy-rotated',
      'authority-changed',
      'log-closed',
    ]);
    expect(records.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(records.slice(1).map(({ prev }) => prev)).toEqual(records.slice(0, -1).map(({ hash }) => hash));
    expect(records[1]).toMatchObject({
      at: '2026-01-01T12:00:00.000Z',
      stream: {
        ...{ streamId: '1', deviceId: 'press-7', moduleId: 'camera', caller: 'policy:service', cause: 'rejected' },
        ...{ detail: 'a\\u000ab\\u202e', requestedAt: '1970-01-01T00:00:01.000Z', fromDevice: { bytes: 0 } },
        answeredBy: { principal: 'device:press-7', protocol: 'mqtt', remoteAddress: '198.51.100.1' },
      },
    });
    expect(await bench.verify()).toEqual({ findings: [], records: 6, lastSeq: 6, checkpoints: 1, vouchedSeq: 6 });
  });

  it('is nobody else’s to read', async () => {
    await (await bench.open()).close();
    for (const name of readdirSync(bench.directory)) {
      expect(statSync(join(bench.directory, name)).mode & 0o777).toBe(0o600);
    }
  });

  it('begins another file each day and beyond a size, and goes on in the same chain', async () => {
    const log = await bench.open({ segmentBytes: 2_000 });
    for (let stream = 0; stream < 5; stream++) {
      log.observe(ended(`${stream}`));
      await log.settled();
    }
    await bench.clock.advance(86_400_000);
    log.observe(ended('next day'));
    await log.close();
    const names = readdirSync(bench.directory).filter((name) => name.startsWith('0'));
    expect(names).toEqual([
      '000000000001-2026-01-01.jsonl',
      '000000000005-2026-01-01.jsonl',
      '000000000007-2026-01-02.jsonl',
    ]);
    expect((await bench.verify()).findings).toEqual([]);
  });

  it('is signed after a number of records, after an interval, and at the end', async () => {
    const log = await bench.open({ checkpointRecords: 3, checkpointMs: 60_000 });
    log.observe(ended('1'));
    log.observe(ended('2'));
    await log.settled();
    expect(bench.checkpoints.map(({ seq }) => seq)).toEqual([3]);
    log.observe(ended('3'));
    await log.settled();
    await bench.clock.advance(60_000);
    await log.settled();
    expect(bench.checkpoints.map(({ seq }) => seq)).toEqual([3, 4]);
    // Without new records, no checkpoint is signed.
    await bench.clock.advance(600_000);
    await log.close();
    expect(bench.checkpoints.map(({ seq }) => seq)).toEqual([3, 4, 5]);
    expect(await bench.verify()).toMatchObject({ findings: [], checkpoints: 3, vouchedSeq: 5 });
    expect(bench.clock.timers).toBe(0);
  });
});

describe('after a crash', () => {
  it('the record goes on, and says that it was interrupted', async () => {
    const first = await bench.open();
    first.observe(ended('1'));
    await first.settled();
    const second = await bench.open();
    await second.close();
    const records = await bench.records();
    expect(records.map(({ type }) => type)).toEqual(['log-opened', 'stream-ended', 'log-opened', 'log-closed']);
    expect(records.map(({ before }) => before)).toEqual(['nothing', undefined, 'interrupted', undefined]);
    await (await bench.open()).close();
    expect((await bench.records())[4]).toMatchObject({ type: 'log-opened', before: 'closed' });
    expect((await bench.verify()).findings).toEqual([]);
    await first.close();
  });

  it('a torn last line is cut off, wherever it was torn, and recorded', async () => {
    const log = await bench.open();
    log.observe(ended('1'));
    await log.close();
    const [file = ''] = await bench.files();
    const whole = readFileSync(file);
    const signed = join(bench.directory, 'checkpoints.jsonl');
    const checkpoints = readFileSync(signed);
    const lastLine = whole.subarray(whole.lastIndexOf(0x0a, -2) + 1);
    for (let length = 1; length < lastLine.length; length += 13) {
      writeFileSync(file, whole);
      appendFileSync(file, lastLine.subarray(0, length));
      expect((await bench.verify()).findings).not.toEqual([]);
      const again = await bench.open();
      await again.settled();
      const records = await bench.records();
      expect(records[3]).toMatchObject({ type: 'log-opened', torn: { bytes: length } });
      expect((await bench.verify()).findings).toEqual([]);
      await again.close();
      writeFileSync(signed, checkpoints);
    }
  });

  it('a file that was begun and not written to, or torn in its first line, holds nothing up', async () => {
    await (await bench.open()).close();
    for (const text of ['', '{"at":"2026']) {
      writeFileSync(join(bench.directory, '000000000003-2026-01-02.jsonl'), text);
      const log = await bench.open();
      await log.close();
      const verdict = await bench.verify();
      expect(verdict.findings).toEqual([]);
      rmSync(join(bench.directory, '000000000003-2026-01-02.jsonl'));
    }
  });

  it('but a last line that is whole and no record was no crash: the hub does not start', async () => {
    await (await bench.open()).close();
    const [file = ''] = await bench.files();
    writeFileSync(file, readFileSync(file, 'utf8').replace('log-closed', 'log-opened'));
    await expect(bench.open()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('was changed'),
    });
  });

  it('and a record that ends before what was signed is told at the start', async () => {
    await (await bench.open()).close();
    const [file = ''] = await bench.files();
    truncateSync(file, readFileSync(file).indexOf(0x0a) + 1);
    const log = await bench.open();
    await log.close();
    expect(bench.told).toMatchObject([{ type: 'audit-failed', problem: expect.stringContaining('were cut off') }]);
    expect((await bench.verify()).findings).toMatchObject([{ problem: expect.stringContaining('was rewritten') }]);
  });
});

describe('a disk that takes nothing', () => {
  /** Makes every write fail: on the next day, the log cannot create its next file because a directory has the same name. */
  const fail = async () => {
    mkdirSync(join(bench.directory, '000000000002-2026-01-02.jsonl'));
    await bench.clock.advance(86_400_000);
  };
  const mend = () => rmSync(join(bench.directory, '000000000002-2026-01-02.jsonl'), { recursive: true });

  it('is told once, and what waits is written when it works again', async () => {
    const log = await bench.open();
    await log.settled();
    await fail();
    log.observe(ended('1'));
    await until(() => bench.told.length > 0);
    log.observe(ended('2'));
    await bench.clock.advance(30_000);
    expect(bench.told).toMatchObject([{ type: 'audit-failed' }]);
    expect(log.waiting).toBe(2);
    mend();
    while (log.waiting > 0) await bench.clock.advance(1_000);
    await log.close();
    expect(bench.told.slice(1)).toEqual([{ type: 'audit-resumed', lost: 0 }]);
    expect(await types()).toEqual(['log-opened', 'stream-ended', 'stream-ended', 'log-closed']);
    expect((await bench.verify()).findings).toEqual([]);
  });

  it('holds a limited number of records in memory; the others are counted, and the count is recorded', async () => {
    const log = await bench.open();
    await log.settled();
    await fail();
    for (let stream = 0; stream < MAX_WAITING_RECORDS + 5; stream++) log.observe(ended(`${stream}`));
    expect(log.waiting).toBeLessThanOrEqual(MAX_WAITING_RECORDS);
    expect(log.lost).toBe(6);
    await until(() => bench.told.length > 0);
    mend();
    while (log.waiting > 0) await bench.clock.advance(1_000);
    await log.settled();
    const last = (await bench.records()).at(-1);
    expect(last).toMatchObject({ type: 'records-lost', count: 6, from: '2026-01-02T12:00:00.000Z' });
    await log.close();
    expect((await bench.verify()).findings).toEqual([]);
  });

  it('does not keep the hub from stopping: one last try, and the loss is told', async () => {
    const log = await bench.open();
    await log.settled();
    await fail();
    log.observe(ended('1'));
    await log.close();
    expect(bench.told.at(-1)).toMatchObject({ problem: expect.stringContaining('2 records are lost') });
    expect(bench.clock.timers).toBe(0);
    mend();
  });

  it('leaves nothing half-written behind that is read as good', async () => {
    const log = await bench.open();
    await log.settled();
    const [file = ''] = await bench.files();
    // The incomplete line that a partially failed write leaves behind.
    appendFileSync(file, '{"at":');
    chmodSync(file, 0o600);
    const { size } = statSync(file);
    log.observe(ended('1'));
    await log.close();
    expect(statSync(file).size).toBeGreaterThan(size);
    expect((await bench.verify()).findings).toEqual([]);
  });
});

/** Waits until `reached` returns true, while file system operations run. */
async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a stream that is open when the hub dies', () => {
  const streamOf = async (type: string) =>
    (await bench.records()).filter((record) => record.type === type).map(({ stream }) => stream);
  const ids = (log: AuditLog) => log.interrupted.map(({ stream }) => stream.streamId);
  const tell = (log: AuditLog, count = log.interrupted.length) => {
    for (const event of log.interrupted.slice(0, count)) log.observe(event);
  };

  it('is in the record from when it is established, and is recorded as ended at the next start, with what is known', async () => {
    const killed = await bench.open();
    bench.establish(killed, 'lasts');
    bench.establish(killed, 'ends');
    bench.end(killed, 'ends');
    await bench.kill(killed);
    expect(await streamOf('stream-established')).toMatchObject([
      { streamId: 'lasts', deviceId: 'press-7', establishedAt: '1970-01-01T00:00:04.000Z', deviceAddress: 'a' },
      { streamId: 'ends' },
    ]);
    await bench.clock.advance(3_600_000);
    const next = await bench.open();
    expect(ids(next)).toEqual(['lasts']);
    tell(next);
    await next.close();
    const last = (await streamOf('stream-ended')).at(-1);
    expect(last).toEqual({
      ...{ streamId: 'lasts', streamName: 'ssh', deviceId: 'press-7' },
      ...{ caller: 'policy:service', callerAddress: '192.0.2.1', gateway: 'hub.example:443' },
      requestedAt: '1970-01-01T00:00:01.000Z',
      offeredAt: '1970-01-01T00:00:02.000Z',
      answeredAt: '1970-01-01T00:00:03.000Z',
      answeredBy: { principal: 'device:press-7', protocol: 'mqtt', remoteAddress: '198.51.100.1' },
      establishedAt: '1970-01-01T00:00:04.000Z',
      ...{ serviceAddress: 'b', deviceAddress: 'a', knownUntil: '2026-01-01T12:00:00.000Z' },
      ...{ cause: 'hub_died', error: 'stream_lost', detail: expect.stringContaining('killed') },
    });
    expect((await bench.verify()).findings).toEqual([]);
  });

  it('is told once, also when the hub is killed again and again while it tells', async () => {
    const killed = await bench.open();
    for (const id of ['1', '2', '3']) bench.establish(killed, id);
    await bench.kill(killed);
    const second = await bench.open();
    tell(second, 1);
    await bench.kill(second);
    const third = await bench.open();
    expect(ids(third)).toEqual(['2', '3']);
    await bench.kill(third);
    const fourth = await bench.open();
    tell(fourth);
    await bench.kill(fourth);
    const fifth = await bench.open();
    expect(ids(fifth)).toEqual([]);
    await fifth.close();
    expect((await streamOf('stream-ended')).map((stream) => (stream as { streamId: string }).streamId)).toEqual([
      '1',
      '2',
      '3',
    ]);
  });

  it('is found however many files ago it began, from the newest ones alone', async () => {
    const killed = await bench.open({ segmentBytes: 20_000 });
    for (let n = 0; n < 20; n++) bench.establish(killed, `lasts ${n}`);
    for (let n = 0; n < 500; n++) {
      killed.observe(ended(`short ${n}`));
      if (n % 10 === 0) await killed.settled();
    }
    bench.end(killed, 'lasts 7');
    await bench.kill(killed);
    const files = await bench.files();
    expect(files.length).toBeGreaterThan(16);
    for (const file of files.slice(0, -16)) rmSync(file);
    const next = await bench.open();
    const expected = Array.from({ length: 20 }, (_, n) => `lasts ${n}`).filter((id) => id !== 'lasts 7');
    expect(ids(next).toSorted()).toEqual(expected.toSorted());
    await next.close();
  });

  it('is none when the record was closed, or no stream was established', async () => {
    const log = await bench.open();
    bench.establish(log, 'whose end was lost');
    log.observe(ended('rejected'));
    await log.close();
    const next = await bench.open();
    expect(ids(next)).toEqual([]);
    await bench.kill(next);
    const last = await bench.open();
    expect(ids(last)).toEqual([]);
    await last.close();
  });
});
