import { connect, type Socket } from 'node:net';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import { abortReason, type Clock, networkFault, stateKeepAlive } from '@culvert/stream';
import type { Target } from './agent-events.ts';

/** Milliseconds a local target may take to accept a connection: it is on this machine or its network, and a user waits. */
export const DIAL_TARGET_MS = 10_000;

/** Connects to a local target over TCP. Half-open connections are allowed: the target may send an answer after it has received the caller's end. */
export function dialTarget(target: Target, clock: Clock, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    stateKeepAlive(socket, 'local');
    const settle = (): void => {
      timer.cancel();
      socket.off('connect', connected);
      socket.off('error', refused);
      signal.removeEventListener('abort', aborted);
    };
    const fail = (error: CulvertError): void => {
      settle();
      // A destroyed socket may still emit an error, which needs a listener.
      socket.on('error', () => socket.destroy());
      socket.destroy();
      reject(error);
    };
    const connected = (): void => {
      settle();
      resolve(socket);
    };
    const refused = (error: Error): void => fail(unreachable(target, networkFault(error), error));
    const aborted = (): void => fail(abortReason(signal));
    const timer = clock.setTimer(DIAL_TARGET_MS, () =>
      fail(unreachable(target, `no answer within ${DIAL_TARGET_MS / 1000} s`)),
    );
    socket.on('connect', connected);
    socket.on('error', refused);
    signal.addEventListener('abort', aborted);
    if (signal.aborted) aborted();
  });
}

function unreachable(target: Target, why: string, cause?: Error): CulvertError {
  const where = formatHostPort(target.host, target.port);
  return new CulvertError('target_unreachable', `${where} could not be reached on the device: ${why}`, { cause });
}
