import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressGroup } from './address-group.ts';

describe('addresses counted as one', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:c000:0201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::9', '2001:db8:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['unknown', 'unknown'],
  ])('%s is of %s', (address, group) => {
    expect(addressGroup(address)).toBe(group);
  });

  it('are all those of one /64, however they are written, and no others', () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.ipV6(), (one, other) => {
        const network = (address: string) => new URL(`http://[${address}]`).hostname;
        const same = network(one) === network(other);
        if (same) expect(addressGroup(one)).toBe(addressGroup(other));
        // The URL parser has only one spelling for an address.
        expect(addressGroup(network(one).slice(1, -1))).toBe(addressGroup(one));
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }), fc.nat(7), (groups, at) => {
        const written = (numbers: number[]) => numbers.map((number) => number.toString(16)).join(':');
        const changed = groups.with(at, (groups[at] ?? 0) ^ 1);
        const isMapped = (numbers: number[]) => written(numbers).startsWith('0:0:0:0:0:ffff:');
        fc.pre(!isMapped(groups) && !isMapped(changed));
        expect(addressGroup(written(groups)) === addressGroup(written(changed))).toBe(at >= 4);
      }),
    );
  });
});
