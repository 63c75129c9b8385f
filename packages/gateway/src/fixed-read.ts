import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Names of the fields in which `net.Socket` keeps what its public option `onread` was given (lib/net.js). */
const FIELDS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const;

/** Takes what was read; false when no more is to be read for now. */
export type Receive = (length: number) => boolean;

/**
 * The symbols of {@link FIELDS}, asked of a socket that was made with `onread`; undefined on a Node that does it another way.
 */
function onreadFields(): Readonly<Record<(typeof FIELDS)[number], symbol>> | undefined {
  const buffer = Buffer.alloc(1);
  const callback: Receive = () => true;
  const probe = new Socket({ onread: { buffer, callback } });
  const found = Object.getOwnPropertySymbols(probe);
  const [kBuffer, kBufferCb, kBufferGen] = FIELDS.map((name) => found.find((symbol) => symbol.description === name));
  const values: unknown[] = [kBuffer, kBufferCb, kBufferGen].map((symbol) => symbol && Reflect.get(probe, symbol));
  probe.destroy();
  if (kBuffer === undefined || kBufferCb === undefined || kBufferGen === undefined) return undefined;
  if (values[0] !== buffer || values[1] !== callback || values[2] !== null) return undefined;
  return { kBuffer, kBufferCb, kBufferGen };
}

let fields: ReturnType<typeof onreadFields> | false = false;

/**
 * Has a connected socket read into `buffer`, which many sockets may share, and call `receive` with the number of bytes, instead of
 * emitting 'data' with a new buffer for each TLS record. `net.connect` has an option for it; for a socket that a server accepted it
 * is not public, so this reaches into Node and says whether it could: on `false` nothing was changed, and 'data' events come as ever.
 * 'end', 'error' and 'close', `pause()` and `resume()` are as they were; what had been read before still comes as 'data'.
 *
 * @param receive called synchronously, with the bytes at the beginning of `buffer` until it returns; also a few times after `pause()`. To return
 * false is a cheaper `pause()`, of which the stream knows nothing: `resume()` ends it
 */
export function readInto(socket: Duplex, buffer: Buffer, receive: Receive): boolean {
  if (!(socket instanceof Socket)) return false;
  if (fields === false) fields = onreadFields();
  const handle: unknown = Reflect.get(socket, '_handle');
  if (fields === undefined || typeof handle !== 'object' || handle === null) return false;
  const useUserBuffer: unknown = Reflect.get(handle, 'useUserBuffer');
  // Null unless the socket was made with `onread`.
  if (typeof useUserBuffer !== 'function' || Reflect.get(socket, fields.kBuffer) !== null) return false;
  Reflect.set(socket, fields.kBuffer, buffer);
  Reflect.set(socket, fields.kBufferGen, null);
  const callback: Receive = (length) => {
    // What was read before must go first; it waits while the socket is paused.
    if (socket.readableLength > 0) return socket.push(Buffer.from(buffer.subarray(0, length)));
    return receive(length);
  };
  Reflect.set(socket, fields.kBufferCb, callback);
  Reflect.apply(useUserBuffer, handle, [buffer]);
  return true;
}
