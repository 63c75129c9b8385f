import { Socket } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { ConnectionDuplex, connectionError, SocketRelay } from '@culvert/session';
import type { LocalEnd } from './local-end.ts';
import type { RelayOptions, RelayResult } from './local-relay.ts';

/**
 * Relays between a local TCP connection and a connection of a session without a Duplex between them. Undefined if this is not such a pair; then use
 * `relay`.
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
    const relay = new SocketRelay(socket, ({ endedBy, bytesSent, bytesReceived, reason, text, isRefusal }) => {
      signal?.removeEventListener('abort', onAbort);
      if (reason === undefined) resolve({ endedBy, bytesSent, bytesReceived });
      else reject(aborted ?? connectionError(reason, text, isRefusal));
    });
    let aborted: CulvertError | undefined;
    const onAbort = (): void => {
      aborted = CulvertError.from(signal?.reason, 'aborted');
      connection?.abort('going_away');
    };
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
