import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { stateKeepAlive } from '@culvert/stream';

/** A local server that the quickstart's device offers, on a free port of loopback. */
export interface LocalServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Milliseconds within which an SSH server on this machine has to send its banner. */
const BANNER_MS = 1_000;

/** A server that sends back all bytes it receives. */
export async function startEcho(): Promise<LocalServer> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    stateKeepAlive(socket, 'local');
    socket.pipe(socket);
  });
  const port = await listenOnLoopback(server);
  return { port, close: () => closed(server) };
}

/** A server of one page. */
export async function startPage(page: () => string): Promise<LocalServer> {
  const server: HttpServer = createHttpServer((request, response) => {
    const found = request.url === '/';
    response.writeHead(found ? 200 : 404, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(found ? page() : '<!doctype html><title>Not found</title><p>There is only <a href="/">one page</a>.');
  });
  server.on('connection', (socket) => stateKeepAlive(socket, 'accepted'));
  const port = await listenOnLoopback(server);
  return {
    port,
    close: () => {
      const done = closed(server);
      server.closeAllConnections();
      return done;
    },
  };
}

/** Whether an SSH server answers on 127.0.0.1:22. */
export function sshAnswers(port = 22): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    stateKeepAlive(socket, 'local');
    const settle = (answer: boolean) => (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(BANNER_MS, settle(false));
    socket.on('error', settle(false));
    socket.on('end', settle(false));
    socket.on('data', (data: Buffer) => settle(data.toString('latin1').startsWith('SSH-'))());
  });
}

function listenOnLoopback(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
