import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

describe('the system clock', () => {
  afterEach(() => vi.useRealTimers());

  it('fires once, after its time', () => {
    vi.useFakeTimers();
    const fired = vi.fn();
    systemClock.setTimer(1_000, fired);
    vi.advanceTimersByTime(999);
    expect(fired).not.toHaveBeenCalled();
    vi.advanceTimersByTime(10_000);
    expect(fired).toHaveBeenCalledTimes(1);
  });

  it('takes times beyond what setTimeout does', () => {
    vi.useFakeTimers();
    const fired = vi.fn();
    const ms = 90 * 24 * 3_600_000;
    systemClock.setTimer(ms, fired);
    vi.advanceTimersByTime(ms - 1);
    expect(fired).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledTimes(1);
  });

  it('can be cancelled at any time, also in a later part of a long time', () => {
    vi.useFakeTimers();
    const fired = vi.fn();
    const timer = systemClock.setTimer(2 ** 33, fired);
    vi.advanceTimersByTime(2 ** 32);
    timer.cancel();
    timer.cancel();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(2 ** 34);
    expect(fired).not.toHaveBeenCalled();
  });

  it('tells the time of day', () => {
    const before = Date.now();
    const now = systemClock.now();
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(Date.now());
  });
});
