import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogRow } from './log-calls.ts';
import { LogParts } from './log-parts.ts';
import type { LogCursor, LogQuery } from './log-query.ts';
import { logStatement } from './log-statement.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);
let directory: string;
let parts: LogParts;

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'culvert-log-')), 'logs');
  parts = new LogParts(directory, { days: 30, maxBytes: 2 ** 30 });
});
afterEach(() => {
  parts.close();
  rmSync(join(directory, '..'), { recursive: true });
});

const row = (
  time: number,
  sequence: number,
  over: { device?: string; module?: string; result?: string } = {},
): LogRow => [
  ...([time, sequence, sequence % 2 === 0 ? 'DeviceStreams' : 'Connections'] as const),
  sequence % 2 === 0 ? 'invoke' : 'deviceDisconnect',
  over.device ?? 'd',
  over.module ?? null,
  sequence.toString(16).padStart(32, '0'),
  over.result ?? '',
  over.result === '404103' ? 'device_offline' : '',
  JSON.stringify({ sequence, text: 'x'.repeat(500) }),
];

const all: LogQuery = { order: 'newest', top: 100 };
const sequences = (query: Partial<LogQuery>) =>
  parts.query({ ...all, ...query }).records.map(({ sequence }) => sequence);
const files = () => readdirSync(directory).filter((name) => name.endsWith('.db'));

describe('the log on disk', () => {
  it('is one file a day, for nobody else to read', () => {
    parts.append([row(START, 1)], START);
    parts.append([row(START + DAY, 2), row(START + DAY, 3)], START + DAY);
    expect(files()).toEqual(['2026-01-01.000.db', '2026-01-02.000.db']);
    const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(sequences({})).toEqual([3, 2, 1]);
    expect(sequences({ order: 'oldest' })).toEqual([1, 2, 3]);
  });

  it('is read page by page, over the days, in both directions, each record once', () => {
    for (let day = 0; day < 3; day++) {
      const now = START + day * DAY;
      // Several records have the same millisecond.
      parts.append(
        Array.from({ length: 7 }, (_, n) => row(now + Math.floor(n / 3), day * 7 + n)),
        now,
      );
    }
    for (const order of ['newest', 'oldest'] as const) {
      const seen: number[] = [];
      let after: LogCursor | undefined;
      do {
        const page = parts.query({ order, top: 4, after });
        seen.push(...page.records.map(({ sequence }) => sequence));
        after = page.next;
      } while (after !== undefined);
      const expected = Array.from({ length: 21 }, (_, n) => n);
      expect(seen).toEqual(order === 'oldest' ? expected : expected.reverse());
    }
  });

  it('is searched by device, module, category, result, stream and time', () => {
    parts.append(
      [
        row(START, 1),
        row(START + 1, 2, { result: '404103' }),
        row(START + 2, 3, { device: 'e', module: 'm' }),
        row(START + 3, 4, { device: 'e', result: '504101' }),
      ],
      START,
    );
    expect(sequences({ deviceId: 'e' })).toEqual([4, 3]);
    expect(sequences({ deviceId: 'e', moduleId: 'm' })).toEqual([3]);
    expect(sequences({ deviceId: 'e', moduleId: null })).toEqual([4]);
    expect(sequences({ category: 'Connections' })).toEqual([3, 1]);
    expect(sequences({ operation: 'deviceDisconnect', deviceId: 'd' })).toEqual([1]);
    expect(sequences({ result: { kind: 'ok' } })).toEqual([3, 1]);
    expect(sequences({ result: { kind: 'failed' } })).toEqual([4, 2]);
    expect(sequences({ result: { kind: 'number', number: '504101' } })).toEqual([4]);
    expect(sequences({ result: { kind: 'code', code: 'device_offline', number: '404103' } })).toEqual([2]);
    expect(sequences({ streamId: '2'.padStart(32, '0') })).toEqual([2]);
    expect(sequences({ since: START + 1, until: START + 3 })).toEqual([3, 2]);
    expect(sequences({ since: START + 2 * DAY })).toEqual([]);
  });

  it('keeps as many days as it is told', () => {
    parts = new LogParts(directory, { days: 2, maxBytes: 2 ** 30 });
    for (let day = 0; day < 5; day++) parts.append([row(START + day * DAY, day)], START + day * DAY);
    expect(files()).toEqual(['2026-01-03.000.db', '2026-01-04.000.db', '2026-01-05.000.db']);
    // Old parts are deleted even if nothing more is written.
    parts.tidy(START + 7 * DAY);
    expect(files()).toEqual([]);
    parts.append([row(START + 7 * DAY, 9)], START + 7 * DAY);
    expect(sequences({})).toEqual([9]);
  });

  it('keeps as many bytes as it is told, and the newest of them, also of one day', () => {
    const maxBytes = 16 * 2 ** 20;
    parts = new LogParts(directory, { days: 30, maxBytes });
    const total = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
    let sequence = 0;
    for (let batch = 0; batch < 60; batch++) {
      parts.append(
        Array.from({ length: 1_000 }, () => row(START + sequence, sequence++)),
        START,
      );
      // The write-ahead log and its index are added to the limit; they are deleted when the part is closed.
      expect(total()).toBeLessThan(maxBytes + 6 * 2 ** 20);
    }
    expect(files().length).toBeGreaterThan(8);
    expect(files()[0]).not.toBe('2026-01-01.000.db');
    expect(sequences({ top: 2 })).toEqual([sequence - 1, sequence - 2]);
    const [oldest = 0] = sequences({ order: 'oldest', top: 1 });
    expect(oldest).toBeGreaterThan(1_000);
    expect(oldest).toBeLessThan(sequence - 10_000);
  });

  it('goes on in a new part when one is damaged or of a later version, and says which cannot be read', () => {
    parts.append([row(START, 1)], START);
    parts.close();
    const damaged = join(directory, '2026-01-01.000.db');
    writeFileSync(damaged, 'x'.repeat(8_192));
    for (const name of ['-wal', '-shm']) rmSync(damaged + name, { force: true });
    const later = new DatabaseSync(join(directory, '2026-01-01.001.db'));
    later.exec('PRAGMA user_version = 99');
    later.close();
    parts.append([row(START + 1, 2)], START + 1);
    expect(files().at(-1)).toBe('2026-01-01.002.db');
    expect(() => sequences({})).toThrow('001.db is of a later version of Culvert: move it away');
    rmSync(join(directory, '2026-01-01.001.db'));
    expect(() => sequences({})).toThrow(`${damaged} is damaged: move it away`);
    rmSync(damaged);
    writeFileSync(damaged, '');
    expect(sequences({})).toEqual([2]);
  });

  it('is not confused by a clock that is set back', () => {
    parts.append([row(START + DAY, 1)], START + DAY);
    parts.append([row(START, 2)], START);
    expect(files()).toEqual(['2026-01-02.000.db']);
    expect(sequences({ until: START + 1 })).toEqual([2]);
  });
});

describe('a search among 100,000 records', () => {
  const RECORDS = 100_000;
  const DEVICES = 200;

  it('reads off an index no more rows than it gives, and so is fast', () => {
    // All records are in one part: the hardest case.
    parts = new LogParts(directory, { days: 30, maxBytes: 2 ** 34 });
    for (let first = 0; first < RECORDS; first += 1_000) {
      parts.append(
        Array.from({ length: 1_000 }, (_, n) => {
          const sequence = first + n;
          const result = sequence % 100 === 2 ? '404103' : '';
          return row(START + sequence, sequence, { device: `device-${sequence % DEVICES}`, result });
        }),
        START,
      );
    }
    const part = new DatabaseSync(join(directory, '2026-01-01.000.db'), { readOnly: true });
    let read = 0;
    part.function('counted', { varargs: true }, () => {
      read++;
      return 1;
    });
    const questions: readonly [string, Partial<LogQuery>, string][] = [
      ['everything', {}, 'by_time'],
      ['a device', { deviceId: 'device-7' }, 'by_device'],
      ['a device since', { deviceId: 'device-7', since: START + 90_000 }, 'by_device'],
      ['a category', { category: 'Connections' }, 'by_category'],
      ['failures', { result: { kind: 'failed' } }, 'by_failure'],
      ['a result', { result: { kind: 'number', number: '404103' } }, 'by_result'],
      ['a stream', { streamId: '7'.padStart(32, '0') }, 'by_stream'],
      ['a time', { since: START + 500, until: START + 600 }, 'by_time'],
      ['a last disconnect', { deviceId: 'device-7', operation: 'deviceDisconnect', top: 1 }, 'by_disconnect'],
      [
        'a later page',
        { deviceId: 'device-7', after: { part: '2026-01-01.000.db', time: START + 50_000, row: 50_001 } },
        'by_device',
      ],
    ];
    const times: string[] = [];
    for (const [what, question, index] of questions) {
      const query: LogQuery = { ...all, ...question };
      const { sql, parameters } = logStatement(query, query.top, query.after);
      const plan = part.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters);
      // SQLite reads one index in its order and sorts nothing afterwards.
      expect(plan.map((step) => String(step['detail']))).toEqual([
        expect.stringMatching(new RegExp(`^(SEARCH|SCAN) record USING INDEX ${index}\\b`)),
      ]);
      read = 0;
      const where = sql.includes(' WHERE ') ? sql.replace(' WHERE ', ' WHERE counted(id) AND ') : undefined;
      const counting = where ?? sql.replace(' ORDER BY', ' WHERE counted(id) ORDER BY');
      const rows = part.prepare(counting).all(...parameters);
      expect(rows.length).toBeGreaterThan(0);
      expect([what, read]).toEqual([what, rows.length]);
      const begun = performance.now();
      parts.query(query);
      times.push(`${what} ${(performance.now() - begun).toFixed(1)} ms`);
    }
    // A column without an index is searched only among the device's records, not among all records.
    const { sql, parameters } = logStatement({ ...all, deviceId: 'device-7', moduleId: 'none' }, 100, undefined);
    read = 0;
    part.prepare(sql.replace(' WHERE ', ' WHERE counted(id) AND ')).all(...parameters);
    expect(read).toBe(RECORDS / DEVICES);
    part.close();
    // The figures for docs/operating/logs.md; no check depends on them.
    console.log(`100,000 records: ${times.join(', ')}`);
  });
});
