/**
 * Length of the pattern of bytes that the bench transfers: pseudo-random, so that it cannot be compressed, and repeated after a length that no buffer,
 * record or frame divides, so that a lost, repeated or moved chunk is detected. Comparing with it checks every byte, for less CPU time than a hash.
 */
const BLOCK_BYTES = 1_048_583;

/** The longest chunk that {@link patternAt} returns, in bytes. */
const PIECE_BYTES = 65_536;

const block = makeBlock();

/** Returns up to {@link PIECE_BYTES} bytes of the pattern from an offset on; the memory is shared and must not be changed. */
export function patternAt(offset: number, length: number): Buffer {
  const start = offset % BLOCK_BYTES;
  return block.subarray(start, start + Math.min(length, PIECE_BYTES));
}

/** Whether `bytes` equal the pattern from `offset` on. */
export function matchesPattern(bytes: Buffer, offset: number): boolean {
  for (let at = 0; at < bytes.length; ) {
    const expected = patternAt(offset + at, bytes.length - at);
    if (expected.compare(bytes, at, at + expected.length) !== 0) return false;
    at += expected.length;
  }
  return true;
}

/** Creates one block followed by the start of the next, so that every chunk is contiguous. */
function makeBlock(): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES + PIECE_BYTES);
  // Marsaglia's 32-bit xorshift: random enough for this purpose, and the same in both processes.
  let state = 0x9e3779b9;
  for (let i = 0; i < BLOCK_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  bytes.copy(bytes, BLOCK_BYTES, 0, PIECE_BYTES);
  return bytes;
}
