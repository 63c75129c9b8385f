import type { IncomingMessage, ServerResponse } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayThread, type ThreadStart } from '@culvert/gateway';
import { LIMITS } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { surviveWithoutFetch } from '@culvert/stream/unused-fetch';
import { ProxySources } from '../config/proxy-sources.ts';
import { createFrontDoor } from '../listeners/https-listener.ts';
import { closeServer, listen } from '../listeners/listen.ts';
import { UnprovenConnections } from '../listeners/unauthenticated-connections.ts';
import { secureContext } from '../tls/secure-context.ts';

// Entry point of a gateway worker thread: the same TLS and HTTP as the main port, but streams only.

surviveWithoutFetch();

const port = parentPort;
if (port === null) throw new Error('This file is the entry of a worker thread.');

const start = workerData as ThreadStart;
const { door } = start;
const ticketKeys = Buffer.from(door.ticketKeys);
const thread = new GatewayThread(start, port, systemClock);
const unproven = new UnprovenConnections({
  clock: systemClock,
  maxPerAddress: door.maxUnprovenPerAddress,
  maxTotal: door.maxUnproven,
});
const server = createFrontDoor({
  pair: door.pair,
  ticketKeys,
  unproven,
  clock: systemClock,
  proxies: door.proxiesFrom === undefined ? undefined : new ProxySources(door.proxiesFrom),
  authenticateMs: LIMITS.authenticateMs,
  idleMs: 2 * LIMITS.handshakeMs,
  onRequest: (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(404, { connection: 'close', 'content-type': 'text/plain; charset=utf-8' });
    response.end('Here are streams alone; the hub has another address.\n');
  },
  onGateway: (request, socket, head) => thread.gateway.handleUpgrade(request, socket, head),
  onTlsError: ({ message }, remoteAddress) => thread.tlsFailed(remoteAddress, message),
});

void thread.run({
  listen: () => listen(server, { host: door.host, port: door.port, reusePort: door.reusePort }, 'gatewayListen'),
  present: (pair) => server.setSecureContext({ ...secureContext(pair, false), ticketKeys }),
  close: () => void closeServer(server),
  destroyConnections() {
    server.closeAllConnections();
    unproven.destroyAll();
  },
});
