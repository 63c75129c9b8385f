import type { ErrorCode, Identity, ResourceLogRecord } from '@culvert/protocol';
import type { ControlProtocol } from '../door.ts';
import type { LogReader } from './log-store.ts';

/** Why and when a device or module was last seen leaving. */
export interface LoggedDisconnect {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly error: ErrorCode;
  /** One sentence. */
  readonly detail: string;
  readonly protocol: ControlProtocol;
}

/** Undefined: the log remembers none. Rejects with CulvertError `internal`, `too_many_requests` when it cannot be read. */
export type LoggedDisconnectOf = (identity: Identity) => Promise<LoggedDisconnect | undefined>;

/** Answers from the category `Connections` of the log, which is as old as its retention. */
export function loggedDisconnects(log: Pick<LogReader, 'list'>): LoggedDisconnectOf {
  return async ({ deviceId, moduleId = null }) => {
    const query = { deviceId, moduleId, operation: 'deviceDisconnect', order: 'newest', top: 1 } as const;
    const { records } = await log.list(query);
    const [record] = records;
    if (record === undefined) return undefined;
    const { properties } = JSON.parse(record.json) as ResourceLogRecord;
    const { error, detail, protocol } = JSON.parse(properties) as Omit<LoggedDisconnect, 'at'>;
    return { at: record.time, error, detail, protocol };
  };
}
