import { printable } from '@culvert/protocol';
import type { ResourceLogRecord } from '@culvert/service';

/** Widths of all columns but the last: 73 characters, so that a terminal of 120 columns shows most of the last one. */
const WIDTHS = [20, 17, 14, 16];

/** The headings of {@link logLine}. */
export const LOG_HEADINGS = row(['TIME', 'OPERATION', 'DEVICE', 'RESULT', 'DETAIL']);

/** A record as one line of text. Columns have fixed widths, since later records are not known yet; only an id may be wider. */
export function logLine(record: ResourceLogRecord): string {
  const fields = propertiesOf(record);
  const text = (key: string): string => (typeof fields[key] === 'string' ? fields[key] : '');
  const device = text('moduleId') === '' ? text('deviceId') : `${text('deviceId')}/${text('moduleId')}`;
  const result = text('error') || text('cause') || text('reason') || 'ok';
  return row([
    record.time.replace(/\.\d+Z$/, 'Z'),
    record.operationName,
    device || '-',
    result,
    detail(record, fields, text),
  ]);
}

function detail(
  record: ResourceLogRecord,
  fields: Readonly<Record<string, unknown>>,
  text: (key: string) => string,
): string {
  const lasted = `${record.durationMs} ms`;
  // A service may have asked for a session that the device did not agree to.
  const session = typeof fields['sessionVersion'] === 'number' ? `, session ${text('sessionId')}` : '';
  switch (record.operationName) {
    case 'invoke': {
      const request = `${text('requestName')} for ${text('caller')}`;
      return record.level === 'Information' ? `${request}, in ${lasted}${session}` : `${request}: ${text('detail')}`;
    }
    case 'streamClose':
      // If the hub crashed, the number of bytes is unknown.
      if (fields['requestSize'] === null) return `${text('requestName')}: ${text('detail')}`;
      return `${text('requestName')}, ${text('requestSize')} B there, ${text('responseSize')} B back, ${lasted}${session}`;
    case 'connectionClose': {
      const bytes = `${fields['bytesSent']} B sent, ${fields['bytesReceived']} B received`;
      return `claim of the ${text('claimedBy')}: ${text('requestName')}, ${bytes}, ${lasted}, session ${text('sessionId')}`;
    }
    case 'deviceDisconnect':
      return `${text('detail')} After ${lasted}.`;
    case 'deviceConnect':
      return `${text('protocol')} from ${text('remoteAddress')}`;
    default:
      return `${text('protocol')} from ${text('remoteAddress')}: ${text('detail')}`;
  }
}

function propertiesOf({ properties }: ResourceLogRecord): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(properties);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function row(cells: readonly string[]): string {
  const line = cells.map((cell, column) => printable(cell, 1_024).padEnd(WIDTHS[column] ?? 0)).join('  ');
  return `${line.trimEnd()}\n`;
}
