import { type AuditRecord, type AuditType, type AuditValue, CulvertError } from '@culvert/protocol';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { pointInTime } from '../point-in-time.ts';
import { type OutputFormat, table, writeOut } from '../standard-output.ts';

/** Flags of `culvert audit list`. */
export type AuditListFlags = ConnectionFlags & {
  readonly output: OutputFormat;
  readonly device?: string;
  readonly since?: string;
  readonly until?: string;
  readonly type?: AuditType;
  readonly limit?: string;
};

/** Records shown under one heading. A list of any length needs no more memory than this number of records. */
const TABLE_ROWS = 1_000;

/** Bytes sent to the device, and bytes received from it. */
const HEADINGS = ['SEQ', 'TIME', 'WHAT', 'DEVICE', 'BY', 'SECONDS', 'SENT', 'BACK', 'WHY'];

/** Maximum of `--limit`: the records are held in memory. */
const MAX_LIMIT = 100_000;

/**
 * `culvert audit list`: all records, oldest first; with `--limit` only the newest N, also oldest first, like `culvert logs`. JSON output is one
 * record a line, exactly as in the audit record.
 */
export function listAudit(flags: AuditListFlags): Promise<void> {
  const limit = parseLimit(flags.limit);
  const now = Date.now();
  const filter = {
    ...(flags.device === undefined ? {} : { device: flags.device }),
    ...(flags.type === undefined ? {} : { type: flags.type }),
    ...(flags.since === undefined ? {} : { since: pointInTime('--since', flags.since, now).toISOString() }),
    ...(flags.until === undefined ? {} : { until: pointInTime('--until', flags.until, now).toISOString() }),
  };
  return withClient(flags, 'iothubowner', async (client) => {
    let rows: string[][] = [];
    let shown = 0;
    const all = client.audit.list(filter);
    for await (const record of limit === undefined ? all : newest(all, limit)) {
      if (flags.output === 'json') await writeOut(`${JSON.stringify(record)}\n`);
      else rows.push(row(record));
      if (rows.length === TABLE_ROWS) {
        await writeOut(table(HEADINGS, rows));
        rows = [];
      }
      shown++;
    }
    if (rows.length > 0 || (shown === 0 && flags.output === 'table')) await writeOut(table(HEADINGS, rows));
  });
}

function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new CulvertError('usage', `--limit: '${text}' is not a number from 1 to ${MAX_LIMIT}`);
}

/** The last `count` records, oldest first. The hub returns the oldest first, so all records have to be read. */
async function* newest(records: AsyncIterable<AuditRecord>, count: number): AsyncGenerator<AuditRecord> {
  const kept: AuditRecord[] = [];
  let next = 0;
  for await (const record of records) {
    kept[next] = record;
    next = (next + 1) % count;
  }
  yield* kept.slice(next);
  yield* kept.slice(0, next);
}

function row(record: AuditRecord): string[] {
  const stream = fields(record['stream']);
  // As in `culvert logs`: the time ends with Z for UTC.
  const time = record.at.replace(/\.\d+Z$/, 'Z');
  if (stream === undefined) {
    const what = [record.type, word(record['change'])].filter((part) => part !== '').join(' ');
    const subject = record['policy'] ?? record['authority'] ?? name(record);
    const why = reason(record);
    if (record.type === 'session-reported')
      return [`${record.seq}`, time, what, word(subject), word(record['caller']), '', '', '', why];
    return [`${record.seq}`, time, what, word(subject), word(record['principal']), '', '', '', why];
  }
  const endedAt = word(stream['endedAt']);
  const seconds = endedAt === '' ? '' : (Date.parse(endedAt) - Date.parse(word(stream['requestedAt']))) / 1_000;
  const toDevice = word(fields(stream['fromService'])?.['bytes']);
  const fromDevice = word(fields(stream['fromDevice'])?.['bytes']);
  const what = word(stream['streamName']);
  const subject = name(stream);
  const by = word(stream['caller']);
  const why = record.type === 'stream-established' ? 'established' : word(stream['cause']);
  return [`${record.seq}`, time, what, subject, by, `${seconds}`, toDevice, fromDevice, why];
}

/** How the hub's previous run ended, by the field `before` of the record `log-opened`. */
const BEFORE_OPENING: Readonly<Record<string, string>> = {
  nothing: 'first start',
  closed: 'after a stop',
  interrupted: 'after a crash',
};

/** Describes a record that is not about one stream. */
function reason(record: AuditRecord): string {
  const { streams } = record;
  if (record.type === 'streams-open') return `${Array.isArray(streams) ? streams.length : 0} streams`;
  if (record.type === 'session-reported') {
    const { connections } = record;
    return `${Array.isArray(connections) ? connections.length : 0} connections closed, as the ${word(record['claimedBy'])} claims`;
  }
  if (record.type === 'records-lost') return `${word(record['count'])} records`;
  const before = word(record['before']);
  return BEFORE_OPENING[before] ?? before;
}

function name(subject: { readonly [key: string]: AuditValue | undefined }): string {
  const [device, module] = [word(subject['deviceId']), word(subject['moduleId'])];
  return module === '' ? device : `${device}/${module}`;
}

function word(value: AuditValue | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? `${value}` : '';
}

function fields(value: AuditValue | undefined): { readonly [key: string]: AuditValue | undefined } | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as { readonly [key: string]: AuditValue | undefined }) : undefined;
}
