import type { TLSSocket } from 'node:tls';

/** Bytes of one write: several TLS records. */
const WRITE_BYTES = 131_072;
/** Milliseconds within which everything must have arrived. */
const LATE_MS = 120_000;

/** The two ends of a stream through a middle. */
export interface Joined {
  readonly from: TLSSocket;
  readonly to: TLSSocket;
}

/**
 * Writes `block` to one end `times` times, and compares every byte that arrives at the other end with `expected`.
 * @throws Error when a byte is wrong or missing
 */
export function pour({ from, to }: Joined, block: Buffer, expected: Buffer, times: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const total = expected.length * times;
    let received = 0;
    const settle = (error?: Error): void => {
      clearTimeout(late);
      to.off('data', onData).off('close', onClose);
      from.off('drain', write).off('close', onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const late = setTimeout(() => settle(new Error(`${received} of ${total} bytes came in time`)), LATE_MS);
    const onClose = (): void => settle(new Error(`the stream ended after ${received} of ${total} bytes`));
    const onData = (chunk: Buffer): void => {
      for (let at = 0; at < chunk.length; ) {
        const offset = received % expected.length;
        const count = Math.min(chunk.length - at, expected.length - offset);
        if (expected.compare(chunk, at, at + count, offset, offset + count) !== 0) {
          settle(new Error(`wrong bytes after ${received} of ${total}`));
          return;
        }
        received += count;
        at += count;
      }
      if (received === total) settle();
      else if (received > total) settle(new Error('more bytes came than were sent'));
    };
    let sent = 0;
    const write = (): void => {
      while (sent < block.length * times) {
        const offset = sent % block.length;
        const piece = block.subarray(offset, offset + WRITE_BYTES);
        sent += piece.length;
        if (!from.write(piece)) return;
      }
    };
    to.on('data', onData).on('close', onClose);
    from.on('drain', write).on('close', onClose);
    write();
  });
}
