import type { Clock } from '@culvert/stream';
import { expect, it } from 'vitest';
import { ReportPace } from './report-pace.ts';

it('allows ten reports at once, then about one a second, also after the clock was set back', () => {
  let now = Date.UTC(2026, 0, 1);
  const clock: Clock = { now: () => now, setTimer: () => ({ cancel: () => undefined }) };
  const pace = new ReportPace(clock);
  const allowed = (times: number) => Array.from({ length: times }, () => pace.allows).filter(Boolean).length;
  expect(allowed(20)).toBe(10);
  now += 1_000;
  expect(allowed(5)).toBe(0);
  now += 100;
  expect(allowed(5)).toBe(1);
  now += 3_600_000;
  expect(allowed(20)).toBe(10);
  now -= 86_400_000;
  expect(allowed(1)).toBe(1);
});
