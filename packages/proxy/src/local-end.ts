import type { Socket } from 'node:net';
import { PassThrough, type Readable, type Writable } from 'node:stream';

/** The local end of a stream: `readable` is the data from a program on this machine, `writable` takes the data for it. */
export interface LocalEnd {
  readonly readable: Readable;
  readonly writable: Writable;
  /** Ends the connection to the program with an error and not cleanly, because the data sent to it is incomplete. */
  reset(): void;
  /** Whether a program that stops reading counts as ended cleanly (true for a pipe, whose reader may exit) or as an error (false for a socket). */
  readonly brokenPipeIsEnd: boolean;
  /** Whether the program's output is ended when the peer ends: true for a terminal, which receives no end and does not end on its own. */
  readonly endsWithStream: boolean;
}

/** A TCP connection as the local end. `reset` sends a TCP reset. */
export function socketEnd(socket: Socket): LocalEnd {
  return {
    readable: socket,
    writable: socket,
    reset: () => {
      socket.resetAndDestroy();
    },
    brokenPipeIsEnd: false,
    endsWithStream: false,
  };
}

/** A local end that sends all received data back and ends when it is ended: an echo service without a connection. */
export function echoEnd(): LocalEnd {
  const echo = new PassThrough();
  return { readable: echo, writable: echo, reset: () => echo.destroy(), brokenPipeIsEnd: false, endsWithStream: false };
}
