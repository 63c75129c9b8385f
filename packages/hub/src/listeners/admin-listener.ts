import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { stateKeepAlive } from '@culvert/stream';
import { RequestQueue } from './request-queue.ts';

/** Why the hub accepts no new streams: it is starting, it is stopping (`draining`), or its registry does not answer. */
export type NotReady = 'starting' | 'draining' | 'registry';

/** The data served to monitoring. */
export interface AdminDeps {
  /** Resolves to undefined when the hub accepts new streams. Must not reject. */
  readonly readiness: () => Promise<NotReady | undefined>;
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

/** Maximum concurrent connections: enough for several probes and scrapers. */
const MAX_CONNECTIONS = 64;

/**
 * Plain HTTP for monitoring. `/livez` answers while the process is alive; `/readyz` answers whether the hub accepts new streams and, if not, the
 * reason in one word; `/metrics` is for Prometheus. None of them reveals anything about a device, so they need no credential. At the maximum of
 * connections, a new connection replaces the one that has been without a request for the longest time; if all have requests, the new one is closed.
 */
export function createAdminListener(deps: AdminDeps): Server {
  const options = { headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8_192 };
  const server = createServer(options);
  // Connections without a request in progress, the one idle for the longest time first.
  const idle = new Set<Socket>();
  let connections = 0;
  const requests = new RequestQueue({
    handle(request, response) {
      const { socket } = request;
      idle.delete(socket);
      response.once('close', () => void (socket.destroyed || idle.add(socket)));
      // When the readiness check or the metrics fail, the connection is closed; the scraper counts this as a failed scrape.
      answer(request, response, deps).catch(() => response.destroy());
    },
    mayStay: () => true,
  });
  server.on('connection', (socket) => {
    const [oldest] = idle;
    if (connections >= MAX_CONNECTIONS) (oldest ?? socket).destroy();
    stateKeepAlive(socket, 'accepted');
    connections++;
    socket.once('close', () => {
      connections--;
      idle.delete(socket);
    });
    idle.add(socket);
    requests.watch(socket);
  });
  const take = (request: IncomingMessage, response: ServerResponse): void => requests.take(request, response);
  server.on('request', take);
  // Without this listener, Node answers requests with an unknown Expect header itself and without a limit. Here they are queued like others.
  server.on('checkExpectation', take);
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, deps: AdminDeps): Promise<void> {
  const reply = (status: number, text: string, type = 'text/plain; charset=utf-8') =>
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
  switch ((request.url ?? '').split('?', 1)[0]) {
    case '/livez':
      reply(200, 'ok\n');
      return;
    case '/readyz': {
      const why = await deps.readiness();
      if (why === undefined) reply(200, 'ok\n');
      else reply(503, `${why}\n`);
      return;
    }
    case '/metrics':
      reply(200, await deps.metrics.text(), deps.metrics.contentType);
      return;
    default:
      reply(404, 'not found\n');
  }
}
