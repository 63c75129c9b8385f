import type { Socket } from 'node:net';
import { PassThrough, type Readable, type Writable } from 'node:stream';

/** The local end of a stream: what a program on this machine sends, and where it takes what the other side sent. */
export interface LocalEnd {
  readonly readable: Readable;
  readonly writable: Writable;
  /** Makes the program see a broken connection, never a clean end: what it was sent is not complete. */
  reset(): void;
  /** Whether a program that stops reading has ended cleanly (the reader of a pipe exits) or has lost its connection (a socket). */
  readonly brokenPipeIsEnd: boolean;
  /** Whether the program's output ends when the peer's does: true for a terminal, which cannot be told the end and would never end by itself. */
  readonly endsWithStream: boolean;
}

/** A TCP connection as the local end. A reset tells the program by RST. */
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

/** A local end that sends back what it is sent, in order, and ends when it is ended: an echo service without a connection. */
export function echoEnd(): LocalEnd {
  const echo = new PassThrough();
  return { readable: echo, writable: echo, reset: () => echo.destroy(), brokenPipeIsEnd: false, endsWithStream: false };
}
