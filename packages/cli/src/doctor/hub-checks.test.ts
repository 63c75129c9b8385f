import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import type { Greeting } from './greeting.ts';
import { clockCheck, endpointCheck } from './hub-checks.ts';

const NOW = Date.UTC(2026, 0, 1);
const greeting = (over: Partial<Greeting>): Greeting => ({
  ...{ protocol: 'TLSv1.3', chain: [], ms: 100, status: 200, date: NOW, body: '{}' },
  ...over,
});

describe('the clock', () => {
  const check = (offsetMs: number) => clockCheck(greeting({}), NOW + 550 + offsetMs);

  it.each([
    [0, 0, undefined],
    [29_000, 29, undefined],
    [-29_000, -29, undefined],
    [30_000, 30, true],
    [-299_000, -299, true],
  ])('%i ms off is %i s and a warning: %s', (offset, seconds, warning) => {
    const found = check(offset);
    expect(found.data).toEqual({ seconds });
    expect(found.warning).toBe(warning);
  });

  it('that is off by more than tokens are forgiven is where it breaks', () => {
    expect(() => check(300_000)).toThrow(/^This clock is 300 s ahead of the hub’s: Set the clock/);
    expect(() => check(-400_000)).toThrow(/400 s behind/);
  });
});

describe('what answers', () => {
  it.each([
    [200, '<html>Log in to the hotel</html>'],
    [302, ''],
    [200, '{"hostName":1}'],
    [200, 'null'],
  ])('%i %s is no hub', (status, body) => {
    expect(() => endpointCheck(greeting({ status, body }))).toThrow(CulvertError);
  });
});
