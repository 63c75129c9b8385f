import { CulvertError, LOG_CATEGORIES, type LogCategory, MAX_LOG_PAGE } from '@culvert/protocol';
import type { LogFilterOptions, ResourceLogRecord, ServiceClient } from '@culvert/service';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { LOG_HEADINGS, logLine } from '../log-lines.ts';
import { tell } from '../messages.ts';
import { pointInTime } from '../point-in-time.ts';
import { type OutputFormat, writeOut } from '../standard-output.ts';

/** Flags of `culvert logs`. */
export interface LogFlags extends ConnectionFlags {
  readonly device?: string;
  readonly module?: string;
  readonly stream?: string;
  readonly category?: string;
  readonly result?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit?: string;
  readonly follow?: boolean;
  readonly output: OutputFormat;
}

/** Records shown when neither a start time nor a number is given: a few screens. */
const DEFAULT_LIMIT = 100;

/** Maximum of `--limit`. The records are held in memory, about a kilobyte each, to be printed oldest first. */
const MAX_LIMIT = 100_000;

/**
 * `culvert logs`: the newest records, or with `--since` all records from that time on, oldest first. With `--follow`, new records as the hub
 * writes them, across restarts of the hub. `--output json` prints one record a line.
 */
export function logs(flags: LogFlags): Promise<void> {
  const filter = parseFilter(flags, Date.now());
  const limit = parseLimit(flags);
  const write = writer(flags.output);
  return withClient(flags, 'iothubowner', async (client) => {
    if (flags.follow === true) return follow(client, filter, write);
    if (filter.since !== undefined && flags.limit === undefined) {
      for await (const record of client.logs.list({ ...filter, order: 'oldest' })) await write(record);
      return write.end();
    }
    const { records, more } = await newest(client, filter, limit);
    for (const record of records) await write(record);
    await write.end();
    if (more) tell(`these are the newest ${limit}; --limit or --since shows more`);
  });
}

async function follow(client: ServiceClient, filter: LogFilterOptions, write: Write): Promise<void> {
  let away = false;
  const following = client.logs.follow({
    ...filter,
    onLost: ({ message }) => {
      if (!away) tell(`the hub does not answer any more, trying until it does: ${message}`);
      away = true;
    },
    onBack: () => {
      if (away) tell('the hub answers again; what it recorded meanwhile follows');
      away = false;
    },
    onDropped: (count) =>
      tell(`${count} records came faster than they could be shown; culvert logs --since shows them`),
  });
  await write.begin();
  for await (const record of following) await write(record);
}

/** The newest records, oldest first. */
async function newest(
  client: ServiceClient,
  filter: LogFilterOptions,
  limit: number,
): Promise<{ records: ResourceLogRecord[]; more: boolean }> {
  const records: ResourceLogRecord[] = [];
  for await (const record of client.logs.list({ ...filter, top: Math.min(limit + 1, MAX_LOG_PAGE) })) {
    if (records.length === limit) return { records: records.reverse(), more: true };
    records.push(record);
  }
  return { records: records.reverse(), more: false };
}

/** Writes records; for a table, after its headings. */
interface Write {
  (record: ResourceLogRecord): Promise<void>;
  /** Writes the headings before there is a record. */
  begin(): Promise<void>;
  /** Ends the output: a table without rows still has headings. */
  end(): Promise<void>;
}

function writer(output: OutputFormat): Write {
  let begun = output === 'json';
  const begin = async (): Promise<void> => {
    if (!begun) await writeOut(LOG_HEADINGS);
    begun = true;
  };
  const write = async (record: ResourceLogRecord): Promise<void> => {
    await begin();
    await writeOut(output === 'json' ? `${JSON.stringify(record)}\n` : logLine(record));
  };
  return Object.assign(write, { begin, end: begin });
}

function parseFilter(flags: LogFlags, now: number): LogFilterOptions {
  const { device, module, stream, category, result, since, until, follow } = flags;
  if (module !== undefined && device === undefined) throw new CulvertError('usage', '--module needs --device');
  if (follow === true && until !== undefined)
    throw new CulvertError('usage', '--follow and --until exclude each other');
  return {
    ...{ device, module, stream, result },
    category: category === undefined ? undefined : parseCategory(category),
    since: since === undefined ? undefined : pointInTime('--since', since, now),
    until: until === undefined ? undefined : pointInTime('--until', until, now),
  };
}

function parseCategory(text: string): LogCategory {
  const found = LOG_CATEGORIES.find((category) => category.toLowerCase() === text.toLowerCase());
  if (found === undefined)
    throw new CulvertError('usage', `--category: '${text}' is none of ${LOG_CATEGORIES.join(', ')}`);
  return found;
}

function parseLimit({ limit, follow }: LogFlags): number {
  if (limit === undefined) return DEFAULT_LIMIT;
  if (follow === true) throw new CulvertError('usage', '--follow and --limit exclude each other');
  const count = Number(limit);
  if (/^\d+$/.test(limit) && count >= 1 && count <= MAX_LIMIT) return count;
  throw new CulvertError('usage', `--limit: '${limit}' is not a number from 1 to ${MAX_LIMIT}`);
}
