import type { ResourceLogRecord } from '@culvert/protocol';
import type { LastDisconnect, LastDisconnectOf } from '../last-disconnect.ts';
import type { LogReader } from './log-store.ts';

/** Answers from the category `Connections` of the log, which is as old as its retention. Rejects with CulvertError `internal`, `too_many_requests` when it cannot be read. */
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
