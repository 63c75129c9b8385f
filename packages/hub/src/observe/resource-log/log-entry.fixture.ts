import type { LogEntry, LogRecord } from './log-entry.ts';
import { logRecord } from './log-entry.ts';

const RESOURCE = { resourceId: 'hub.example', location: 'Plant 3' };

/** A log record for tests: a successful handshake, with the fields of `over` replaced. */
export function sampleRecord(sequence: number, over: Partial<LogEntry> = {}): LogRecord {
  const entry: LogEntry = {
    time: Date.UTC(2026, 0, 1) + sequence,
    category: 'DeviceStreams',
    operation: 'invoke',
    level: 'Information',
    error: undefined,
    durationMs: 5,
    deviceId: 'd',
    moduleId: undefined,
    streamId: sequence.toString(16).padStart(32, '0'),
    traceParent: undefined,
    properties: { deviceId: 'd', requestName: `stream-${sequence}` },
    ...over,
  };
  return logRecord(entry, sequence, RESOURCE);
}
