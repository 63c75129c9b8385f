import { createServer, type Server } from 'node:http';

/**
 * Plain HTTP for probes on the machine itself: `/livez` says that the process answers, `/readyz` whether it takes new streams.
 * Neither says anything about devices, so they ask for no credential.
 */
export function createAdminListener(isReady: () => boolean): Server {
  const server = createServer(
    { headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8_192 },
    (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0];
      const status = path === '/livez' ? 200 : path === '/readyz' ? (isReady() ? 200 : 503) : 404;
      const text = status === 200 ? 'ok\n' : status === 503 ? 'not ready\n' : 'not found\n';
      response
        .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
        .end(text);
    },
  );
  server.maxConnections = 64;
  return server;
}
