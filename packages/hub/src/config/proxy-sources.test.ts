import { describe, expect, it } from 'vitest';
import { ProxySources } from './proxy-sources.ts';

describe('networks of load balancers', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['192.0.2.0/24', '192.0.2.255', true],
    ['192.0.2.0/24', '192.0.3.0', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['192.0.2.0/24', 'unknown', false],
  ])('%s has %s: %s', (network, address, has) => {
    expect(new ProxySources(['198.51.100.1', network]).has(address)).toBe(has);
  });

  it.each([
    '',
    'localhost',
    '192.0.2.0/33',
    '192.0.2.0/',
    '192.0.2.0/24/1',
    '2001:db8::/129',
    'fe80::1%eth0',
    '192.0.2',
  ])('%j is none', (network) => {
    expect(() => new ProxySources([network])).toThrow(`proxyProtocolFrom: '${network}' is neither`);
  });
});
