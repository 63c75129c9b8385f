import { describe, expect, it } from 'vitest';
import { RefusalQuota } from './refusal-quota.ts';

const NOW = Date.UTC(2026, 0, 1);

/** The number of `count` refusals that are recorded. */
function recorded(
  quota: RefusalQuota,
  count: number,
  origin: (n: number) => { listener?: string; remoteAddress?: string; deviceId?: string },
  now = NOW,
): number {
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const { listener = 'rest', remoteAddress = '192.0.2.1', deviceId } = origin(n);
    const registered = deviceId === undefined ? undefined : { deviceId };
    if (quota.take({ listener, remoteAddress, registered }, now)) sum++;
  }
  return sum;
}

describe('the refusals that are recorded', () => {
  it('are three a minute of one address at one listener, and twelve of all', () => {
    const quota = new RefusalQuota();
    expect(recorded(quota, 1_000, () => ({}))).toBe(3);
    expect(recorded(quota, 1_000, () => ({ listener: 'mqtt' }))).toBe(3);
    expect(recorded(quota, 1_000, (n) => ({ remoteAddress: `198.51.100.${n % 250}` }))).toBe(6);
    expect(recorded(quota, 1_000, () => ({}), NOW + 60_000)).toBe(3);
  });

  it('count an IPv6 network of 64 bits as one address', () => {
    const quota = new RefusalQuota();
    const addresses = ['2001:db8:1:2::3', '2001:db8:1:2:ffff::1', '2001:db8:1:2:1:2:3:4', '2001:db8:1:2::'];
    expect(recorded(quota, 4, (n) => ({ remoteAddress: addresses[n] ?? '' }))).toBe(3);
    expect(recorded(quota, 1, () => ({ remoteAddress: '2001:db8:1:3::3' }))).toBe(1);
    expect(recorded(quota, 1, () => ({ remoteAddress: '::1' }))).toBe(1);
  });

  it('keep room for devices that exist, however many others there are', () => {
    const quota = new RefusalQuota();
    recorded(quota, 10_000, (n) => ({ remoteAddress: `198.51.${n % 256}.${n % 250}` }));
    expect(recorded(quota, 100, () => ({ deviceId: 'press-7' }))).toBe(2);
    expect(recorded(quota, 100, () => ({ deviceId: 'press-8' }))).toBe(2);
    expect(recorded(quota, 1_000, (n) => ({ deviceId: `d${n}` }))).toBe(4);
    expect(recorded(quota, 100, () => ({ deviceId: 'press-7' }), NOW + 60_000)).toBe(2);
  });
});
