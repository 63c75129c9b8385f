import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '@culvert/stream';

/**
 * Closes a connection so that the last bytes sent arrive: sends FIN after them, then waits for the client's FIN, discarding what it still
 * sends. Closing at once, with unread input, would make the kernel send a reset, on which the client may lose what it has not
 * read yet.
 *
 * @param ms milliseconds the client has to close, after which the connection is destroyed
 * @param from when they begin: `now`, or when the operating system has accepted everything (the caller must then bound that)
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
