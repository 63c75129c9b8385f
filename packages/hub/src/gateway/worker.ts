import type { IncomingMessage, ServerResponse } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayThread, type ThreadStart } from '@culvert/gateway';
import { LIMITS } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { surviveWithoutFetch } from '@culvert/stream/unused-fetch';
import { ProxySources } from '../config/proxy-sources.ts';
import { createHttpsListener } from '../listeners/https-listener.ts';
import { closeServer, listen } from '../listeners/listen.ts';
import { UnauthenticatedConnections } from '../listeners/unauthenticated-connections.ts';
import { secureContext } from '../tls/secure-context.ts';

// Entry point of a gateway worker thread. It uses the same TLS and HTTP listener as the main port, but serves only streams.

surviveWithoutFetch();

const port = parentPort;
if (port === null) throw new Error('This file is the entry of a worker thread.');

const start = workerData as ThreadStart;
const { listener } = start;
const ticketKeys = Buffer.from(listener.ticketKeys);
const thread = new GatewayThread(start, port, systemClock);
const unauthenticated = new UnauthenticatedConnections({
  clock: systemClock,
  maxPerAddress: listener.maxUnauthenticatedPerAddress,
  maxTotal: listener.maxUnauthenticated,
});
const server = createHttpsListener({
  pair: listener.pair,
  ticketKeys,
  unauthenticated,
  clock: systemClock,
  proxies: listener.proxiesFrom === undefined ? undefined : new ProxySources(listener.proxiesFrom),
  authenticateMs: LIMITS.authenticateMs,
  idleMs: 2 * LIMITS.handshakeMs,
  onRequest: (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(404, { connection: 'close', 'content-type': 'text/plain; charset=utf-8' });
    response.end('This address serves streams only; the hub has another address.\n');
  },
  onGateway: (request, socket, head) => thread.gateway.handleUpgrade(request, socket, head),
  onTlsError: ({ message }, remoteAddress) => thread.tlsFailed(remoteAddress, message),
});

void thread.run({
  listen: () =>
    listen(server, { host: listener.host, port: listener.port, reusePort: listener.reusePort }, 'gatewayListen'),
  present: (pair) => server.setSecureContext({ ...secureContext(pair, false), ticketKeys }),
  close: () => void closeServer(server),
  destroyConnections() {
    server.closeAllConnections();
    unauthenticated.destroyAll();
  },
});
