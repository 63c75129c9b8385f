import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '@culvert/stream';

/**
 * Ends a connection so that its last words arrive: sends FIN after them, then waits for the client's, throwing away what it still
 * says. To close at once, with input unread, would make the kernel send a reset, on which the client may lose what it has not
 * read yet.
 *
 * @param ms milliseconds the client has, after which the connection is cut
 * @param from when they begin: `now`, or when the operating system has taken everything (its owner then sees to it that it does)
 */
export function lingeringClose(socket: Duplex, clock: Clock, ms: number, from: 'now' | 'flushed'): void {
  let timer: Timer | undefined;
  const arm = (): void => {
    timer ??= clock.setTimer(ms, () => socket.destroy());
  };
  socket.once('close', () => {
    timer?.cancel();
    socket.off('finish', arm);
  });
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  if (from === 'now' || socket.writableFinished) arm();
  else socket.once('finish', arm);
}
