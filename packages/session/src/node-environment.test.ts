import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { nodeEnvironment } from './node-environment.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('has timers for longer than a timer of Node can take: an eighth of the longest idle limit of a hub is 45 days', () => {
  const callback = vi.fn();
  const ms = 31_536_000_000 / 8;
  nodeEnvironment.setTimer(ms, callback);
  const cancelled = vi.fn();
  nodeEnvironment.setTimer(ms, cancelled)();
  vi.advanceTimersByTime(ms - 1);
  expect(callback).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(callback).toHaveBeenCalledOnce();
  expect(cancelled).not.toHaveBeenCalled();
});
