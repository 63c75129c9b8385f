import type { ResourceLogRecord } from '@culvert/protocol';
import type { LastDisconnect, LastDisconnectOf } from '../last-disconnect.ts';
import type { LogReader } from './log-store.ts';

/**
 * Looks up the last disconnect in the records of the log, which go back as far as the log's retention. Rejects with CulvertError `internal` or
 * `too_many_requests` when the log cannot be read.
 */
export function loggedDisconnects(log: Pick<LogReader, 'list'>): LastDisconnectOf {
  return async ({ deviceId, moduleId = null }) => {
    const query = { deviceId, moduleId, operation: 'deviceDisconnect', order: 'newest', top: 1 } as const;
    const { records } = await log.list(query);
    const [record] = records;
    if (record === undefined) return undefined;
    const { properties } = JSON.parse(record.json) as ResourceLogRecord;
    const { error, detail, protocol } = JSON.parse(properties) as Omit<LastDisconnect, 'at'>;
    return { at: record.time, error, detail, protocol };
  };
}
