import { describe, expect, it } from 'vitest';
import { bytesAndSeconds } from './iperf-report.ts';
import { readWrkReport } from './wrk-report.ts';

describe("iperf3's report", () => {
  it('gives what arrived, and in what time', () => {
    const report = { end: { sum_sent: { bytes: 12, seconds: 2 }, sum_received: { bytes: 10, seconds: 2 } } };
    expect(bytesAndSeconds(JSON.stringify(report))).toEqual({ bytes: 10, seconds: 2 });
  });

  it.each([
    [{ error: 'unable to connect to server' }, 'unable to connect'],
    [{ end: { sum_received: { bytes: 0, seconds: 2 } } }, 'no sum'],
    [{ end: {} }, 'no sum'],
  ])('of %j is an error', (report, message) => {
    expect(() => bytesAndSeconds(JSON.stringify(report))).toThrow(message);
  });
});

describe("wrk's report", () => {
  const line = (figures: object): string => `Running 1s test\nwrk-result ${JSON.stringify(figures)}\n`;
  const good = { requests: 500, microseconds: 2_000_000, wrong: 0, read: 0, p50: 1500, p99: 9000, 'p99.9': 12_000 };

  it('gives requests a second, and milliseconds', () => {
    expect(readWrkReport(line(good))).toEqual({ requests: 500, perSecond: 250, p50: 1.5, p99: 9, 'p99.9': 12 });
  });

  it.each([
    ['a page that was another', line({ ...good, wrong: 1 }), 'wrong 1'],
    ['a request that failed', line({ ...good, read: 3, timeout: 1 }), 'read 3, timeout 1'],
    ['no answer at all', line({ ...good, requests: 0 }), 'no answer'],
    ['no result', 'unable to connect', 'unable to connect'],
  ])('with %s is an error', (_name, output, message) => {
    expect(() => readWrkReport(output)).toThrow(message);
  });
});
