import { LIMITS } from '@culvert/protocol';

/** Called once when a frame has been passed to the kernel. */
export type Sent = (error?: Error | null) => void;

/** Splits written data into binary messages of at most 64 KiB, and joins consecutive chunks that fit into one. */
export class MessageWriter {
  readonly #send: (parts: readonly Buffer[], sent: Sent | undefined) => void;

  /** @param send sends one message, which consists of these parts and has at most `LIMITS.frameBytes` */
  constructor(send: (parts: readonly Buffer[], sent: Sent | undefined) => void) {
    this.#send = send;
  }

  /** @param sent called when the whole chunk has been passed to the kernel */
  write(chunk: Buffer, sent: Sent | undefined): void {
    let offset = 0;
    while (chunk.length - offset > LIMITS.frameBytes) {
      const end = offset + LIMITS.frameBytes;
      this.#send([chunk.subarray(offset, end)], undefined);
      offset = end;
    }
    this.#send([offset === 0 ? chunk : chunk.subarray(offset)], sent);
  }

  /** @param sent called when all chunks have been passed to the kernel */
  writeAll(chunks: readonly { readonly chunk: Buffer }[], sent: Sent): void {
    let index = 0;
    while (index < chunks.length) {
      const parts = partsOfNextMessage(chunks, index);
      index += parts.length;
      const isLast = index === chunks.length;
      const [first] = parts;
      if (first !== undefined && parts.length === 1) this.write(first, isLast ? sent : undefined);
      else this.#send(parts, isLast ? sent : undefined);
    }
  }
}

/** The chunks from `start` on that fit into one message; a single chunk of any size. */
function partsOfNextMessage(chunks: readonly { readonly chunk: Buffer }[], start: number): Buffer[] {
  const parts: Buffer[] = [];
  let bytes = 0;
  for (let index = start; index < chunks.length; index++) {
    const { chunk } = chunks[index] as { readonly chunk: Buffer };
    bytes += chunk.length;
    if (parts.length > 0 && bytes > LIMITS.frameBytes) break;
    parts.push(chunk);
  }
  return parts;
}
