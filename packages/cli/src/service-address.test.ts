import { describe, expect, it } from 'vitest';
import { parseServiceAddress } from './service-address.ts';

describe('parseServiceAddress', () => {
  it.each([
    ['ssh=22', { name: 'ssh', host: '127.0.0.1', port: 22 }],
    ['ssh=:22', { name: 'ssh', host: '127.0.0.1', port: 22 }],
    ['web=10.0.0.7:80', { name: 'web', host: '10.0.0.7', port: 80 }],
    ['web=[::1]:80', { name: 'web', host: '::1', port: 80 }],
    ['web=camera.lan:554', { name: 'web', host: 'camera.lan', port: 554 }],
  ])('reads %s', (text, expected) => {
    expect(parseServiceAddress(text, 1)).toEqual(expected);
  });

  it.each(['ssh', '=22', 'ssh=', 'ssh=host', 'ssh=0', 'ssh=70000', 'ssh=host:70000', 'a/b=22', 'ssh=a b:1', 'ssh=-1'])(
    'refuses %s as a usage error',
    (text) => {
      expect(() => parseServiceAddress(text, 1)).toThrow(expect.objectContaining({ code: 'usage' }));
    },
  );

  it('lets a listener leave its port to the system', () => {
    expect(parseServiceAddress('web=0', 0).port).toBe(0);
  });
});
