import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BufferPool } from './buffer-pool.ts';
import { rotateKey, unmask } from './unmask.ts';

const bytes = fc.uint8Array({ maxLength: 700 });
const mask = fc.oneof(fc.constant(new Uint8Array(4)), fc.uint8Array({ minLength: 4, maxLength: 4 }));
const masked = (payload: Uint8Array, key: Uint8Array): Uint8Array =>
  payload.map((byte, i) => byte ^ (key[i & 3] as number));
const numberOf = (key: Uint8Array): number => Buffer.from(key).readInt32LE(0);

test('any bytes, anywhere, in any number of steps, come out as RFC 6455 §5.3 says', () => {
  fc.assert(
    fc.property(bytes, mask, fc.nat(20), fc.nat(), (payload, key, offset, at) => {
      const target = Buffer.alloc(1_024, 0xee);
      target.set(masked(payload, key), offset);
      const first = payload.length === 0 ? 0 : at % payload.length;
      const number = numberOf(key);
      unmask(target, offset, first, number);
      unmask(target, offset + first, payload.length - first, rotateKey(number, first));
      expect(target.subarray(offset, offset + payload.length).equals(payload)).toBe(true);
      expect(target.subarray(offset + payload.length).every((byte) => byte === 0xee)).toBe(true);
      expect(target.subarray(0, offset).every((byte) => byte === 0xee)).toBe(true);
    }),
    { numRuns: 500, seed: 1 },
  );
});

test('in WebAssembly too, moved to another place or in place, and nothing beside them changes', () => {
  const memory = BufferPool.ofThread;
  const pooled = memory?.take({ settle: () => undefined });
  if (memory === undefined || pooled === undefined) throw new Error('there is no WebAssembly');
  fc.assert(
    fc.property(bytes, mask, fc.nat(70), fc.nat(70), fc.boolean(), (payload, key, from, to, inPlace) => {
      pooled.bytes.fill(0xee, 0, 1_024);
      const source = inPlace ? pooled.bytes : memory.input;
      const start = inPlace ? to : from;
      source.set(masked(payload, key), start);
      memory.unmask((inPlace ? pooled.base : 0) + start, pooled.base + to, payload.length, numberOf(key));
      expect(pooled.bytes.subarray(to, to + payload.length).equals(payload)).toBe(true);
      expect(pooled.bytes.subarray(to + payload.length, 1_024).every((byte) => byte === 0xee)).toBe(true);
      expect(pooled.bytes.subarray(0, to).every((byte) => byte === 0xee)).toBe(true);
    }),
    { numRuns: 500, seed: 1 },
  );
  memory.give(pooled);
});
