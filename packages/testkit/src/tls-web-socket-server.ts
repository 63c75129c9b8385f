import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { destroyConnection } from '@culvert/stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { TestCertificate } from './test-certificate.ts';

/** A WebSocket server over TLS on 127.0.0.1. */
export interface TlsWebSocketServer {
  readonly port: number;
  /** `wss://127.0.0.1:port` */
  readonly url: string;
  close(): Promise<void>;
}

export interface TlsWebSocketServerOptions {
  readonly certificate: TestCertificate;
  /** Whether clients are asked for a certificate. Any certificate is accepted, and so is none. */
  readonly requestCertificate?: boolean;
  /** Called for each client that has completed the TLS handshake, whatever it sends afterwards. */
  readonly onConnection?: (socket: TLSSocket) => void;
  /** Called in the event-loop iteration in which a WebSocket is accepted. */
  readonly onSocket: (socket: WebSocket, request: IncomingMessage) => void;
  /** Called for each upgrade request. If it returns true, it has taken over the request, and no WebSocket is accepted. */
  readonly onUpgrade?: (request: IncomingMessage, socket: Duplex) => boolean;
}

/** Starts the server on a free port. It accepts the first subprotocol that the client offers. */
export async function tlsWebSocketServer(options: TlsWebSocketServerOptions): Promise<TlsWebSocketServer> {
  const { cert, key } = options.certificate;
  const server = createServer({
    cert,
    key,
    requestCert: options.requestCertificate ?? false,
    rejectUnauthorized: false,
  });
  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const sockets = new Set<Duplex>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('secureConnection', (socket) => options.onConnection?.(socket));
  server.on('upgrade', (request, socket, head) => {
    if (options.onUpgrade?.(request, socket)) return;
    webSockets.handleUpgrade(request, socket, head, (webSocket) => options.onSocket(webSocket, request));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server does not listen.');
  return {
    port: address.port,
    url: `wss://127.0.0.1:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) destroyConnection(socket);
      }),
  };
}
