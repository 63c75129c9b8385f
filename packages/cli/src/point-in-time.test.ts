import { describe, expect, it } from 'vitest';
import { pointInTime } from './point-in-time.ts';

describe('a point in time', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  it.each([
    ['90s', '2026-01-31T11:58:30.000Z'],
    ['15m', '2026-01-31T11:45:00.000Z'],
    ['1h', '2026-01-31T11:00:00.000Z'],
    ['2d', '2026-01-29T12:00:00.000Z'],
    ['1w', '2026-01-24T12:00:00.000Z'],
    ['2026-01-02T03:04Z', '2026-01-02T03:04:00.000Z'],
    ['2026-01-02T03:04:05.006+01:00', '2026-01-02T02:04:05.006Z'],
    ['2026-01-02', new Date(2026, 0, 2).toISOString()],
    ['2026-01-02T03:04', new Date(2026, 0, 2, 3, 4).toISOString()],
  ])('%s is %s', (text, time) => {
    expect(pointInTime('--since', text, now).toISOString()).toBe(time);
  });

  it.each(['', 'yesterday', '1', '1y', '-1h', '12:00', '2026-13-01', '1e3s', '999999999d'])('%j is none', (text) => {
    expect(() => pointInTime('--since', text, now)).toThrow(`--since: '${text}' is neither`);
  });
});
