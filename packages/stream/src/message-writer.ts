import { LIMITS } from '@culvert/protocol';

/** Called once when a frame has been passed to the kernel. */
export type Sent = (error?: Error | null) => void;

/** Consecutive chunks of fewer bytes than this are copied into one frame: a copy costs less than another frame. */
const COALESCE_BELOW = 32_768;

const EMPTY = Buffer.alloc(0);

/** Splits written data into binary messages of at most 64 KiB, and joins small consecutive chunks into one message. */
export class MessageWriter {
  readonly #send: (payload: Buffer, sent: Sent | undefined) => void;

  /** @param send sends one message of at most `LIMITS.frameBytes` */
  constructor(send: (payload: Buffer, sent: Sent | undefined) => void) {
    this.#send = send;
  }

  /** @param sent called when the whole chunk has been passed to the kernel */
  write(chunk: Buffer, sent: Sent | undefined): void {
    let offset = 0;
    while (chunk.length - offset > LIMITS.frameBytes) {
      const end = offset + LIMITS.frameBytes;
      this.#send(chunk.subarray(offset, end), undefined);
      offset = end;
    }
    this.#send(offset === 0 ? chunk : chunk.subarray(offset), sent);
  }

  /** @param sent called when all chunks have been passed to the kernel */
  writeAll(chunks: readonly { readonly chunk: Buffer }[], sent: Sent): void {
    const last = chunks.length - 1;
    let index = 0;
    while (index <= last) {
      const run = smallRun(chunks, index);
      const piece = run.count > 1 ? gather(chunks, index, run) : (chunks[index]?.chunk ?? EMPTY);
      index += run.count;
      this.write(piece, index > last ? sent : undefined);
    }
  }
}

/** Counts the chunks from `start` on that are sent together: small chunks that fit into one frame, or a single chunk of any size. */
function smallRun(chunks: readonly { readonly chunk: Buffer }[], start: number): { count: number; bytes: number } {
  let bytes = 0;
  let index = start;
  for (; index < chunks.length; index++) {
    const size = chunks[index]?.chunk.length ?? 0;
    if (size >= COALESCE_BELOW || bytes + size > LIMITS.frameBytes) break;
    bytes += size;
  }
  return { count: Math.max(1, index - start), bytes };
}

function gather(
  chunks: readonly { readonly chunk: Buffer }[],
  start: number,
  run: { count: number; bytes: number },
): Buffer {
  const frame = Buffer.allocUnsafe(run.bytes);
  let offset = 0;
  for (let index = start; index < start + run.count; index++) {
    const chunk = chunks[index]?.chunk ?? EMPTY;
    frame.set(chunk, offset);
    offset += chunk.length;
  }
  return frame;
}
