import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { matchesPattern, patternAt } from './pattern.ts';
import { decodeRequest, REQUEST_BYTES, type Request, UPLOAD_OFFSET } from './request.ts';

/** Creates the program on the device that the tunnels connect to: it sends, checks and echoes bytes as each request asks. */
export function createTarget(): Server {
  return createServer({ noDelay: true }, (socket) => {
    // When a driver or tunnel aborts, the driver reports the failed measurement.
    socket.on('error', () => socket.destroy());
    serveRequests(socket);
  });
}

/** Serves the requests on a connection or a stream. */
export function serveRequests(socket: Duplex): void {
  const header = Buffer.alloc(REQUEST_BYTES);
  let filled = 0;
  let request: Request | undefined;
  let received = 0;
  let intact = true;

  const begin = (): void => {
    request = decodeRequest(header);
    filled = received = 0;
    intact = true;
    if (request.operation === 'D') void send(socket, request.length);
    if (request.operation === 'D' || request.length === 0) request = undefined;
  };
  const take = (piece: Buffer, { operation, length }: Request): void => {
    if (operation === 'E') socket.write(piece);
    else intact &&= matchesPattern(piece, UPLOAD_OFFSET + received);
    received += piece.length;
    if (received < length) return;
    if (operation === 'U') socket.write(Buffer.of(intact ? 1 : 0));
    request = undefined;
  };

  socket.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (request === undefined) {
        const copied = chunk.copy(header, filled, at);
        filled += copied;
        at += copied;
        if (filled === REQUEST_BYTES) begin();
      } else {
        const piece = chunk.subarray(at, at + request.length - received);
        at += piece.length;
        take(piece, request);
      }
    }
  });
}

/** Sends the pattern as fast as the socket accepts it. */
async function send(socket: Duplex, length: number): Promise<void> {
  for (let sent = 0; sent < length && !socket.destroyed; ) {
    const piece = patternAt(sent, length - sent);
    sent += piece.length;
    if (!socket.write(piece)) await takesMore(socket);
  }
}

/** Resolves when the socket accepts more bytes or is closed; never rejects. */
function takesMore(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off('drain', settle).off('close', settle);
      resolve();
    };
    socket.on('drain', settle).on('close', settle);
  });
}
