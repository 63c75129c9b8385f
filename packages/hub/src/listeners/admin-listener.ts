import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { stateKeepAlive } from '@culvert/stream';
import { RequestQueue } from './request-queue.ts';

/** Why a hub takes no new streams: it is starting, it is stopping, or its registry does not answer. */
export type NotReady = 'starting' | 'draining' | 'registry';

/** The data served to monitoring. */
export interface AdminDeps {
  /** Undefined: it takes new streams. Must not reject. */
  readonly readiness: () => Promise<NotReady | undefined>;
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

/** Connections at once: some probes and scrapers. */
const MAX_CONNECTIONS = 64;

/**
 * Plain HTTP for monitoring: `/livez` says that the process is alive, `/readyz` whether it takes new streams or, in one word, why not,
 * `/metrics` is for Prometheus. None reveals anything about a device, so they need no credential. When there is no room for a new connection, the oldest that has
 * no request under way is closed for it.
 */
export function createAdminListener(deps: AdminDeps): Server {
  const options = { headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8_192 };
  const server = createServer(options);
  // In the order in which they came.
  const idle = new Set<Socket>();
  let connections = 0;
  const requests = new RequestQueue({
    handle(request, response) {
      const { socket } = request;
      idle.delete(socket);
      response.once('close', () => void (socket.destroyed || idle.add(socket)));
      // A failed scrape is the hub's fault; the scraper counts it.
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
  // Node answers requests with an unknown Expect header itself, without a limit; here they are queued like others.
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
