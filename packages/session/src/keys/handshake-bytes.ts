import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';

type DataListener = (this: Duplex, chunk: Buffer) => void;

/** The limit, and who is told when it is exceeded. */
export interface HandshakeBytesOptions {
  /** Maximum bytes that TLS gets before its handshake is complete. */
  readonly maxBytes: number;
  readonly isDone: () => boolean;
  /** Called once, when more than `maxBytes` were received. Further bytes are ignored; the implementation must destroy the stream. */
  readonly onTooLong: () => void;
}

/**
 * Limits the bytes that TLS gets from a stream until its handshake is complete. TLS reads by a 'data' listener, and processes a chunk before that listener
 * returns; this function takes the listener's place and gives it back afterwards. A stream in between would cost every byte of the link as well.
 * Must be called right after TLS was attached, before anything is read.
 * @throws CulvertError `internal` when the stream does not have exactly one 'data' listener
 */
export function limitHandshakeBytes(duplex: Duplex, { maxBytes, isDone, onTooLong }: HandshakeBytesOptions): void {
  const [listener, ...others] = duplex.listeners('data');
  if (listener === undefined || others.length > 0)
    throw new CulvertError('internal', 'TLS does not read from this stream as expected.');
  const feed = listener as DataListener;
  let left = maxBytes;
  let isTooLong = false;
  const limit = (chunk: Buffer): void => {
    if (isTooLong) return;
    // Any amount of data may follow the handshake in the same chunk.
    const first = isDone() ? chunk : chunk.subarray(0, left);
    left -= first.length;
    if (first.length > 0) feed.call(duplex, first);
    if (isDone()) {
      duplex.on('data', feed);
      duplex.off('data', limit);
      if (first.length < chunk.length) feed.call(duplex, chunk.subarray(first.length));
    } else if (first.length < chunk.length) {
      isTooLong = true;
      onTooLong();
    }
  };
  duplex.on('data', limit);
  duplex.off('data', feed);
}
