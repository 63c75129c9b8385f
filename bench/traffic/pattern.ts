/**
 * The bytes that the bench moves: pseudo-random, so nothing compresses them, and repeated only after a length that no buffer, record
 * or frame divides, so a piece lost, doubled or moved shows. Comparing with it checks every byte, for less CPU than a hash takes.
 */
const BLOCK_BYTES = 1_048_583;

/** The longest piece that {@link patternAt} gives. */
const PIECE_BYTES = 65_536;

const block = makeBlock();

/** Up to {@link PIECE_BYTES} bytes of the pattern from an offset on; shared memory, not to be changed. */
export function patternAt(offset: number, length: number): Buffer {
  const start = offset % BLOCK_BYTES;
  return block.subarray(start, start + Math.min(length, PIECE_BYTES));
}

/** Whether `bytes` are the pattern's from `offset` on. */
export function matchesPattern(bytes: Buffer, offset: number): boolean {
  for (let at = 0; at < bytes.length; ) {
    const expected = patternAt(offset + at, bytes.length - at);
    if (expected.compare(bytes, at, at + expected.length) !== 0) return false;
    at += expected.length;
  }
  return true;
}

/** One block and the start of the next, so a piece never has to be put together. */
function makeBlock(): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES + PIECE_BYTES);
  // Marsaglia's 32-bit xorshift: even enough for this, and the same in both processes.
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
