import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { TestCertificate } from './test-certificate.ts';

/** A relay built on the `ws` library. The gateway's frame relay is compared with it. */
export interface WsRelay {
  /** The base URL. Two clients that connect to the same path `/{id}` are joined. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a relay on a free port of 127.0.0.1. It joins the first two clients of each path and relays whole messages. */
export async function startWsRelay(certificate: TestCertificate): Promise<WsRelay> {
  const server = createServer({ cert: certificate.cert, key: certificate.key });
  const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 0 });
  const waiting = new Map<string, WebSocket>();
  sockets.on('connection', (socket, request) => {
    const id = request.url ?? '';
    const first = waiting.get(id);
    if (first === undefined) {
      socket.pause();
      waiting.set(id, socket);
      return;
    }
    waiting.delete(id);
    carry(first, socket);
    carry(socket, first);
    first.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `wss://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      for (const client of sockets.clients) client.terminate();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Bytes queued at the writer beyond which the reader is paused. */
const HIGH_WATER_BYTES = 65_536;

function carry(from: WebSocket, to: WebSocket): void {
  from.on('error', () => undefined);
  from.on('message', (data: Buffer, binary) => {
    to.send(data, { binary }, () => {
      if (from.isPaused && to.bufferedAmount < HIGH_WATER_BYTES) from.resume();
    });
    if (to.bufferedAmount >= HIGH_WATER_BYTES) from.pause();
  });
  from.on('close', (code, reason) => {
    if (code === 1006) to.close(1011);
    else to.close(code === 1005 ? 1000 : code, reason);
  });
}
