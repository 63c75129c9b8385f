import { patternAt } from './pattern.ts';

/** A fixed masking key, similar to any client's. */
const KEY = Buffer.from([0x5a, 0xc3, 0x17, 0x8e]);
const ZERO = Buffer.alloc(4);

/** Payload bytes of a block, which is sent repeatedly. */
const BLOCK_BYTES = 1_048_576;
const BINARY = 0x82;

/** Frames of one size, as one client sends them and as the other client receives them. */
export interface FrameBlock {
  readonly payloadBytes: number;
  readonly masked: Buffer;
  readonly unmasked: Buffer;
}

/** Returns a block of complete binary messages, each one frame with `size` bytes of payload, masked with a nonzero key or with the zero key. */
export function frameBlock(size: number, key: 'random' | 'zero'): FrameBlock {
  const mask = key === 'zero' ? ZERO : KEY;
  const count = Math.max(1, Math.floor(BLOCK_BYTES / size));
  const masked: Buffer[] = [];
  const unmasked: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const payload = Buffer.from(patternAt(i * size, size));
    unmasked.push(header(size, 0), payload);
    masked.push(header(size, 0x80), mask, Buffer.from(payload.map((byte, at) => byte ^ (mask[at & 3] ?? 0))));
  }
  return { payloadBytes: count * size, masked: Buffer.concat(masked), unmasked: Buffer.concat(unmasked) };
}

/** Returns a frame header, RFC 6455 §5.2. */
function header(length: number, masked: number): Buffer {
  if (length < 126) return Buffer.of(BINARY, masked | length);
  if (length < 65_536) return Buffer.of(BINARY, masked | 126, length >> 8, length & 0xff);
  const long = Buffer.alloc(10);
  long[0] = BINARY;
  long[1] = masked | 127;
  long.writeUInt32BE(length, 6);
  return long;
}
