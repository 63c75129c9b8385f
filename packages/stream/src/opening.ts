import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from './clock.ts';

/**
 * Milliseconds a connection may take to open, for any purpose: name lookup, TCP, TLS, and for a WebSocket its upgrade. The tunnel of a proxy has
 * the same limit, before that. A slow mobile line needs three to five seconds; after ten, the server probably accepts connections but never answers.
 */
export const OPEN_MS = 10_000;

/** How an agent handles connections that are being opened. */
export interface OpeningOptions {
  readonly clock: Clock;
  readonly onUnderWay: (() => void) | undefined;
}

/** The error for a server that did not answer in time. */
export function didNotAnswer(where: string, ms = OPEN_MS): CulvertError {
  return new CulvertError('unreachable', `${where} did not answer within ${ms / 1000} s.`);
}

/** Destroys a TLS connection whose handshake is not complete within {@link OPEN_MS}. */
export function boundOpening(socket: TLSSocket, where: string, clock: Clock): void {
  const timer = clock.setTimer(OPEN_MS, () => socket.destroy(didNotAnswer(where)));
  socket.once('secureConnect', () => timer.cancel());
  socket.once('close', () => timer.cancel());
}

/**
 * Calls `callback` once, when a socket that is being connected has its file descriptor: the connection can then no longer fail for a lack of file
 * descriptors. If the socket gets none, `callback` is never called.
 */
export function onceUnderWay(socket: Socket, callback: () => void): void {
  // Node requests the descriptor right after this event, and if there is none, destroys the socket in the same event-loop iteration.
  socket.once('connectionAttempt', () =>
    process.nextTick(() => {
      if (!socket.destroyed) callback();
    }),
  );
}
