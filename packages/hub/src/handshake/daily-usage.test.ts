import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { DeviceUsage } from '../registry/registry.ts';
import { DailyUsage } from './daily-usage.ts';

let clock: FakeClock;
let kept: Map<string, readonly DeviceUsage[][]>;
let saved: { day: string; totals: readonly DeviceUsage[] }[];
let full: boolean;
let failures: unknown[];

const store = {
  load: (day: string) => Promise.resolve(kept.get(day)?.flat() ?? []),
  save(day: string, totals: readonly DeviceUsage[]) {
    if (full) return Promise.reject(new Error('the disk is full'));
    saved.push({ day, totals });
    return Promise.resolve();
  },
};
const openUsage = () => DailyUsage.open({ store, clock, onFailed: (error) => failures.push(error) });

beforeEach(() => {
  clock = new FakeClock(Date.UTC(2026, 0, 1, 23, 59, 0));
  kept = new Map();
  saved = [];
  full = false;
  failures = [];
});

describe('what devices carried today', () => {
  it('begins with what the store knows of today, and is written ten seconds after it changed, once', async () => {
    kept.set('2026-01-01', [[{ deviceId: 'd', bytes: 100 }]]);
    const usage = await openUsage();
    usage.add('d', 5);
    usage.add('d', 5);
    usage.add('e', 1);
    usage.add('e', 0);
    expect([usage.of('d'), usage.of('e'), usage.of('f'), usage.most]).toEqual([110, 1, 0, 110]);
    await clock.advance(9_999);
    expect(saved).toEqual([]);
    await clock.advance(1);
    expect(saved).toEqual([
      {
        day: '2026-01-01',
        totals: [
          { deviceId: 'd', bytes: 110 },
          { deviceId: 'e', bytes: 1 },
        ],
      },
    ]);
    expect(clock.timers).toBe(0);
  });

  it('is nothing when a new day of UTC begins', async () => {
    const usage = await openUsage();
    usage.add('d', 5);
    await clock.advance(60_000);
    expect([usage.of('d'), usage.most]).toEqual([0, 0]);
    usage.add('d', 7);
    await usage.save();
    expect(saved.at(-1)).toEqual({ day: '2026-01-02', totals: [{ deviceId: 'd', bytes: 7 }] });
  });

  it('is written in pieces, and goes on in memory while the store refuses', async () => {
    const usage = await openUsage();
    for (let device = 0; device < 1_200; device++) usage.add(`d${device}`, 1);
    full = true;
    await usage.save();
    expect([failures.length, saved.length]).toEqual([1, 0]);
    full = false;
    usage.add('d0', 1);
    await clock.advance(10_000);
    expect(saved.map(({ totals }) => totals.length)).toEqual([500, 500, 200]);
    expect(saved[0]?.totals[0]).toEqual({ deviceId: 'd0', bytes: 2 });
  });
});
