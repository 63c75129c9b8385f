/** The values that `wrk-check.lua` prints. */
export interface WrkReport {
  readonly requests: number;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly 'p99.9': number;
}

/** The failures that wrk counts, and `wrong`: a page that differs. */
const FAILURES = ['wrong', 'connect', 'read', 'write', 'status', 'timeout'] as const;

/** Parses the report. @throws Error when a page differed, a request failed, or there was no request */
export function readWrkReport(output: string): WrkReport {
  const line = /^wrk-result (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result: ${output.slice(-200)}`);
  const report = JSON.parse(line) as Record<string, number>;
  const { requests, microseconds } = report;
  if (!requests || !microseconds) throw new Error('wrk had no answer to any request');
  const failed = FAILURES.flatMap((kind) => (report[kind] ? [`${kind} ${report[kind]}`] : []));
  if (failed.length > 0) throw new Error(`of ${requests} requests these failed: ${failed.join(', ')}`);
  const milliseconds = (name: string): number => (report[name] ?? 0) / 1000;
  return {
    requests,
    perSecond: requests / (microseconds / 1e6),
    p50: milliseconds('p50'),
    p99: milliseconds('p99'),
    'p99.9': milliseconds('p99.9'),
  };
}
