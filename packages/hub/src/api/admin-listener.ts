import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { stateKeepAlive } from '@culvert/stream';

/** Why a hub takes no new streams: it is not up yet, it is on its way out, or its registry does not answer. */
export type NotReady = 'starting' | 'draining' | 'registry';

/** What is told to whoever looks after the machine. */
export interface AdminDeps {
  /** Undefined: it takes new streams. Must not reject. */
  readonly readiness: () => Promise<NotReady | undefined>;
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

/**
 * Plain HTTP for the machine itself: `/livez` says that the process answers, `/readyz` whether it takes new streams and else in a word why not,
 * `/metrics` is Prometheus's. None says anything about a device, so they ask for no credential.
 */
export function createAdminListener(deps: AdminDeps): Server {
  const options = { headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8_192 };
  const server = createServer(options, (request, response) => {
    // A scrape that fails is a fault of the hub's, and the scraper counts it.
    answer(request, response, deps).catch(() => response.destroy());
  });
  server.on('connection', (socket) => stateKeepAlive(socket, 'accepted'));
  server.maxConnections = 64;
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
