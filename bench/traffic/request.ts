/**
 * The operation of a request from the driver to the target; a connection carries any number of requests:
 *
 *     +--------+----------------------+
 *     | op (1) | length (6, unsigned) |
 *     +--------+----------------------+
 *
 * - `D` (down): the target sends `length` bytes of the pattern.
 * - `U` (up): `length` bytes of the pattern follow; the target answers with one byte, 1 when they were right, otherwise 0.
 * - `E` (echo): `length` bytes follow; the target sends them back as they arrive.
 */
export type Operation = 'D' | 'U' | 'E';

export const REQUEST_BYTES = 7;

/** Offset in the pattern at which an upload starts: different from a download's, so that one cannot be mistaken for the other. */
export const UPLOAD_OFFSET = 500_009;

export interface Request {
  readonly operation: Operation;
  readonly length: number;
}

export function encodeRequest(operation: Operation, length: number): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes.write(operation, 'latin1');
  bytes.writeUIntBE(length, 1, 6);
  return bytes;
}

/** Decodes a request. @throws Error when the operation is unknown */
export function decodeRequest(bytes: Buffer): Request {
  const operation = String.fromCharCode(bytes[0] ?? 0);
  if (operation !== 'D' && operation !== 'U' && operation !== 'E') {
    throw new Error(`unknown operation ${JSON.stringify(operation)}`);
  }
  return { operation, length: bytes.readUIntBE(1, 6) };
}
