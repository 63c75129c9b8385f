import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../events.ts';
import { AuditBench } from './audit-log.fixture.ts';
import { MAX_WAITING_RECORDS } from './audit-log.ts';
import { emitInterrupted } from './emit-interrupted.ts';

let bench: AuditBench;
beforeEach(() => {
  bench = new AuditBench();
});
afterEach(() => bench.remove());

describe('what was open when the hub died', () => {
  it('is in the record whole, also when it is more than the record queues', async () => {
    const count = MAX_WAITING_RECORDS + 2_000;
    const killed = await bench.open();
    for (let stream = 0; stream < count; stream++) {
      bench.establish(killed, `${stream}`);
      if (stream % 1_000 === 999) await killed.settled();
    }
    await bench.kill(killed);
    const log = await bench.open();
    expect(log.interrupted).toHaveLength(count);
    await emitInterrupted(
      { interrupted: log.interrupted, settled: () => log.settled() },
      { clock: bench.clock, onEvent: log.observe },
    );
    await log.close();
    expect(log.lost).toBe(0);
    const ends = (await bench.records()).filter(({ type }) => type === 'stream-ended');
    expect(new Set(ends.map(({ stream }) => (stream as { streamId: string }).streamId)).size).toBe(count);
  });

  it('does not keep the hub from starting while the disk takes nothing', async () => {
    const clock = new FakeClock(0);
    const events = Array.from({ length: 3_000 }, (): HubEvent => ({ type: 'audit-resumed', lost: 0 }));
    let told = 0;
    const telling = emitInterrupted(
      { interrupted: events, settled: () => new Promise(() => undefined) },
      {
        clock,
        onEvent: () => {
          told++;
        },
      },
    );
    expect(told).toBe(1_000);
    await clock.advance(30_000);
    await telling;
    expect(told).toBe(3_000);
  });
});

it('says in each file which streams are open, without filling the disk with that where files are small', async () => {
  const log = await bench.open({ segmentBytes: 65_536 });
  for (let stream = 0; stream < 1_000; stream++) bench.establish(log, `${stream}`);
  await log.settled();
  for (let stream = 0; stream < 1_000; stream++) {
    bench.end(log, `${stream}`);
    bench.establish(log, `again-${stream}`);
    if (stream % 10 === 9) await log.settled();
  }
  const records = (await bench.records()).map((record) => ({
    type: record.type,
    bytes: JSON.stringify(record).length,
  }));
  const bytesOf = (isOpen: boolean) =>
    records.filter(({ type }) => (type === 'streams-open') === isOpen).reduce((sum, { bytes }) => sum + bytes, 0);
  expect(bytesOf(true)).toBeGreaterThan(0);
  expect(bytesOf(true)).toBeLessThan(bytesOf(false));
  await bench.kill(log);
  const next = await bench.open({ segmentBytes: 65_536 });
  expect(new Set(next.interrupted.map(({ stream }) => stream.streamId)).size).toBe(1_000);
  await next.close();
});
