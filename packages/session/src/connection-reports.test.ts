import { formatSessionReport, type SessionReport } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { ConnectionReports, REPORT_MS } from './connection-reports.ts';
import type { SessionConnection } from './core/connection.ts';

const ID = 'ab'.repeat(16);

let clock: FakeClock;
let sent: SessionReport[];
let answer: () => boolean | Promise<boolean>;
let reports: ConnectionReports;

beforeEach(() => {
  clock = new FakeClock(1_000_000);
  sent = [];
  answer = () => true;
  reports = new ConnectionReports({
    sessionId: ID,
    clock,
    send: (report) => {
      formatSessionReport(report);
      sent.push(report);
      return answer();
    },
  });
});

function connection(id: number, service = 'ssh', sentBytes = 1, receivedBytes = 2): SessionConnection {
  return { id, service, sentBytes, receivedBytes } as SessionConnection;
}

const ids = () => sent.map(({ connections }) => connections.map(({ id }) => id));

describe('reports on connections', () => {
  it('tell of what was opened and closed since the last one, each end of a connection once', async () => {
    const [first, second] = [connection(1), connection(3, 'web')];
    reports.opened(first);
    await clock.advance(2_000);
    reports.opened(second);
    reports.closed(first, 'reset');
    await clock.advance(REPORT_MS);
    const opened = 1_000_000;
    expect(sent).toEqual([
      {
        session: ID,
        connections: [
          { id: 3, service: 'web', opened: opened + 2_000, sent: 1, received: 2 },
          { id: 1, service: 'ssh', opened, closed: opened + 2_000, sent: 1, received: 2, reason: 'reset' },
        ],
      },
    ]);
    await clock.advance(10 * REPORT_MS);
    expect(sent).toHaveLength(1);
    reports.closed(second, undefined);
    await clock.advance(REPORT_MS);
    expect(sent[1]?.connections).toEqual([
      { id: 3, service: 'web', opened: opened + 2_000, closed: clock.now() - REPORT_MS, sent: 1, received: 2 },
    ]);
    expect(clock.timers).toBe(0);
  });

  it('are at most one in an interval, also the last one', async () => {
    reports.opened(connection(1));
    await clock.advance(REPORT_MS);
    await clock.advance(3_000);
    reports.closed(connection(1), undefined);
    reports.end();
    expect(sent).toHaveLength(1);
    await clock.advance(REPORT_MS - 3_001);
    expect(sent).toHaveLength(1);
    await clock.advance(1);
    expect(ids()).toEqual([[1], [1]]);
    expect(clock.timers).toBe(0);
  });

  it('of a short session are sent when it ends', () => {
    reports.opened(connection(1));
    reports.closed(connection(1), undefined);
    reports.end();
    expect(ids()).toEqual([[1]]);
    expect(clock.timers).toBe(0);
  });

  it('of more than a hundred connections tell of the newest, and count the others', async () => {
    for (let index = 0; index < 130; index++) reports.opened(connection(2 * index + 1));
    await clock.advance(REPORT_MS);
    expect(sent[0]?.connections).toHaveLength(100);
    expect(sent[0]?.connections[0]?.id).toBe(61);
    expect(reports.dropped).toBe(30);
  });

  it('that could not be sent are part of the next one, within the same bound', async () => {
    answer = () => false;
    reports.opened(connection(1));
    await clock.advance(REPORT_MS);
    for (let index = 1; index < 101; index++) reports.opened(connection(2 * index + 1));
    answer = () => true;
    await clock.advance(REPORT_MS);
    expect(sent[1]?.connections).toHaveLength(100);
    expect(sent[1]?.connections[0]?.id).toBe(3);
    expect(reports.dropped).toBe(1);
  });

  it('that the hub refuses are dropped and counted, and that the end cannot send are given up after three attempts', async () => {
    answer = () => Promise.reject(new Error('refused'));
    reports.opened(connection(1));
    await clock.advance(REPORT_MS);
    expect(reports.dropped).toBe(1);
    answer = () => false;
    reports.closed(connection(1), undefined);
    reports.end();
    await clock.advance(10 * REPORT_MS);
    expect(sent).toHaveLength(4);
    expect(reports.dropped).toBe(2);
    expect(clock.timers).toBe(0);
  });

  it('keep their form, whatever name the peer gave a service', async () => {
    reports.opened(connection(1, '\ufffd'.repeat(128)));
    await clock.advance(REPORT_MS);
    expect(sent[0]?.connections[0]?.service).toBe('\ufffd'.repeat(42));
  });
});
