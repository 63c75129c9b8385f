import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CulvertError, ErrorCode } from '../errors.ts';
import { PacketSizeLimiter } from './packet-size-limiter.ts';

const MAX = 100_000;

/** A fixed header: packet type 3 and the remaining length. */
function header(length: number): number[] {
  const bytes = [0x30];
  let left = length;
  do {
    const more = left >= 128;
    bytes.push((left % 128) | (more ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return bytes;
}

function failure(bytes: readonly number[]): ErrorCode | undefined {
  const guard = new PacketSizeLimiter(MAX);
  try {
    for (const byte of bytes) guard.packetEnd(Uint8Array.of(byte), 0);
    return undefined;
  } catch (error) {
    return (error as CulvertError).code;
  }
}

describe('PacketSizeLimiter', () => {
  it('finds where each packet ends, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5_000 }),
        (lengths, piece) => {
          const packets = lengths.map((length) => Uint8Array.from([...header(length), ...new Uint8Array(length)]));
          const bytes = Buffer.concat(packets);
          const guard = new PacketSizeLimiter(MAX);
          const ends: number[] = [];
          for (let start = 0; start < bytes.length; start += piece) {
            const chunk = bytes.subarray(start, start + piece);
            let at: number | undefined = 0;
            while (at !== undefined && at < chunk.length) {
              at = guard.packetEnd(chunk, at);
              if (at !== undefined) ends.push(start + at);
            }
          }
          let total = 0;
          expect(ends).toEqual(packets.map((packet) => (total += packet.length)));
        },
      ),
    );
  });

  it('takes the largest packet and refuses one byte more, from the header alone', () => {
    const largest = MAX - 4;
    expect(failure(header(largest))).toBeUndefined();
    expect(failure(header(largest + 1))).toBe('too_large');
    expect(failure(header(268_435_455))).toBe('too_large');
  });

  it('refuses a length of five bytes and the forbidden type', () => {
    expect(failure([0x30, 0x80, 0x80, 0x80, 0x80])).toBe('protocol_error');
    expect(failure([0x00])).toBe('protocol_error');
    expect(failure([0x0f])).toBe('protocol_error');
  });
});
