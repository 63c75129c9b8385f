import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '@culvert/stream';

/**
 * Closes a connection without losing the last bytes sent: sends FIN after them, then waits for the client's FIN and discards all data received
 * until then. If the connection were closed at once with unread input, the kernel would send a reset, and the client might lose bytes that it
 * has not read yet.
 *
 * @param ms milliseconds the client has to close its side; after that the connection is destroyed
 * @param from when this time begins: `now`, or when the operating system has accepted all bytes (`flushed`; the caller must then limit that time)
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
