import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Names of the fields in which `net.Socket` keeps what its public option `onread` was given (lib/net.js). */
const FIELDS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const;

/** Called with the number of bytes read; returns false to stop reading for now. */
export type Receive = (length: number) => boolean;

/**
 * The symbols of {@link FIELDS}, taken from a socket created with `onread`; undefined if this Node version implements it differently.
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
 * Makes a connected socket read into `buffer`, which many sockets may share, and call `receive` with the number of bytes, instead of
 * emitting 'data' with a new buffer for each TLS record. `net.connect` has an option for it; for a socket that a server accepted it
 * is not public, so this uses internal fields of Node and returns whether that worked: on `false` nothing was changed, and 'data' events are emitted as usual.
 * 'end', 'error', 'close', `pause()` and `resume()` work as before; bytes read earlier are still emitted as 'data'.
 *
 * @param receive called synchronously; the bytes are at the beginning of `buffer` until it returns. May be called a few times after `pause()`. Returning
 * false is a cheaper `pause()` that the stream does not know about; `resume()` ends it
 */
export function reuseReadBuffer(socket: Duplex, buffer: Buffer, receive: Receive): boolean {
  if (!(socket instanceof Socket)) return false;
  if (fields === false) fields = onreadFields();
  const handle: unknown = Reflect.get(socket, '_handle');
  if (fields === undefined || typeof handle !== 'object' || handle === null) return false;
  const useUserBuffer: unknown = Reflect.get(handle, 'useUserBuffer');
  // Null unless the socket was created with `onread`.
  if (typeof useUserBuffer !== 'function' || Reflect.get(socket, fields.kBuffer) !== null) return false;
  Reflect.set(socket, fields.kBuffer, buffer);
  Reflect.set(socket, fields.kBufferGen, null);
  const callback: Receive = (length) => {
    // Bytes read earlier must be delivered first; they wait while the socket is paused.
    if (socket.readableLength > 0) return socket.push(Buffer.from(buffer.subarray(0, length)));
    return receive(length);
  };
  Reflect.set(socket, fields.kBufferCb, callback);
  Reflect.apply(useUserBuffer, handle, [buffer]);
  return true;
}
