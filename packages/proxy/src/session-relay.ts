import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { ConnectionDuplex, connectionError, SocketRelay } from '@culvert/session';
import type { LocalEnd } from './local-end.ts';
import type { RelayOptions, RelayResult } from './local-relay.ts';

/**
 * Relays between a local TCP connection and a connection of a session without a Duplex between them, from the time when it is asked for: what the program
 * sends need not wait for the device's answer. Undefined if this is not such a pair; then use `relay`.
 */
export function sessionRelay(
  local: LocalEnd,
  stream: unknown,
  options: RelayOptions,
): Promise<RelayResult> | undefined {
  const socket = local.readable;
  if (!(stream instanceof ConnectionDuplex) || !(socket instanceof Socket) || options.hangUp !== undefined)
    return undefined;
  const { signal } = options;
  return new Promise((resolve, reject) => {
    const relay = new SocketRelay(
      socket,
      ({ endedBy, bytesSent, bytesReceived, reason, text, isRefusal, error }) => {
        signal?.removeEventListener('abort', onAbort);
        if (reason === undefined) {
          resolve({ endedBy, bytesSent, bytesReceived });
          return;
        }
        const why = CulvertError.from(error ?? connectionError(reason, text, isRefusal));
        stream.gaveUp(why);
        reject(why);
      },
      () => stream.opened(),
    );
    const onAbort = (): void => relay.fail(CulvertError.from(signal?.reason, 'aborted'), 'going_away');
    const connection = stream.handOver(relay);
    if (connection === undefined) {
      reject(CulvertError.from(stream.errored ?? undefined, 'stream_lost'));
      return;
    }
    relay.start(connection);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
  });
}

/** Calls `opened` when the device has answered, which is now for a stream that is not a connection of a session. */
export function whenOpened(stream: Duplex, opened: () => void): void {
  if (stream instanceof ConnectionDuplex && stream.isOpening) stream.once('opened', opened);
  else opened();
}
