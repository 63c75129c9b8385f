import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rotateKey, unmask } from './unmask.ts';

test('any bytes, anywhere, moved by any distance, in any number of steps, come out as RFC 6455 §5.3 says', () => {
  const bytes = fc.uint8Array({ maxLength: 700 });
  const mask = fc.oneof(fc.constant(new Uint8Array(4)), fc.uint8Array({ minLength: 4, maxLength: 4 }));
  fc.assert(
    fc.property(bytes, mask, fc.nat(20), fc.nat(40), fc.nat(), (payload, key, offset, distance, at) => {
      const memory = Buffer.alloc(1_024).subarray(offset);
      const masked = payload.map((byte, i) => byte ^ (key[i & 3] as number));
      memory.set(masked, distance);
      const first = payload.length === 0 ? 0 : at % payload.length;
      const number = Buffer.from(key).readInt32LE(0);
      unmask(memory, distance, 0, first, number);
      unmask(memory, distance + first, first, payload.length - first, rotateKey(number, first));
      expect(memory.subarray(0, payload.length).equals(payload)).toBe(true);
    }),
    { numRuns: 500, seed: 1 },
  );
});
