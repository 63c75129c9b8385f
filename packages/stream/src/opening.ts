import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from './clock.ts';

/**
 * Milliseconds a connection may take to open, whatever it is for: name, TCP and TLS (and with a WebSocket its upgrade), and before that a proxy's
 * tunnel. A slow mobile line needs three to five seconds; whoever waits longer waits for something that takes connections and says nothing.
 */
export const OPEN_MS = 10_000;

/** What an agent does with connections while they open. */
export interface OpeningOptions {
  readonly clock: Clock;
  readonly onUnderWay: (() => void) | undefined;
}

/** What one is told who waited in vain. */
export function didNotAnswer(where: string, ms = OPEN_MS): CulvertError {
  return new CulvertError('unreachable', `${where} did not answer within ${ms / 1000} s.`);
}

/** Destroys a TLS connection that is not secured within {@link OPEN_MS}. */
export function boundOpening(socket: TLSSocket, where: string, clock: Clock): void {
  const timer = clock.setTimer(OPEN_MS, () => socket.destroy(didNotAnswer(where)));
  socket.once('secureConnect', () => timer.cancel());
  socket.once('close', () => timer.cancel());
}

/**
 * Calls back once, when a socket that is being connected has its file descriptor: from then on it takes no more of what a process may run out of.
 * Never, when it could not have one.
 */
export function onceUnderWay(socket: Socket, callback: () => void): void {
  // Node asks for the descriptor right after it has emitted this, and destroys the socket in the same turn when there is none.
  socket.once('connectionAttempt', () =>
    process.nextTick(() => {
      if (!socket.destroyed) callback();
    }),
  );
}
