import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { GatewayThread, type ThreadStart } from '@culvert/gateway';
import { peerAddress } from '@culvert/protocol';
import { FakeClock } from './fake-clock.ts';
import { type FromTestThread, type ToTestThread, testChannel } from './test-threads.ts';

// Entry point of a worker thread of a test gateway. The thread has a minimal TLS server, a fake clock, and a channel to the test.

const port = parentPort;
if (port === null) throw new Error('This file is the entry of a worker thread.');

/** Milliseconds between two reports that a thread sends to the test. */
const REPORT_MS = 1;

function open(start: ThreadStart, toMain: MessagePort): void {
  // When the test receives this thread's first report, it advances this clock to its own time.
  const clock = new FakeClock(0);
  const thread = new GatewayThread(start, toMain, clock);
  const { listener } = start;
  const server = createServer({ ...listener.pair, ticketKeys: Buffer.from(listener.ticketKeys) });
  server.on('upgrade', (request, socket, head) => void thread.gateway.handleUpgrade(request, socket, head));
  server.on('tlsClientError', (error, socket) => thread.tlsFailed(peerAddress(socket), error.message));
  const test = new BroadcastChannel(testChannel(start.bootId));
  const post = (message: FromTestThread): void => test.postMessage(message);
  const report = (closed = false): void => {
    const { waitingConnections, streams, bufferedBytes } = thread.gateway;
    const { blocksTaken } = thread;
    post({
      thread: start.threadId,
      waitingConnections,
      streams,
      bufferedBytes,
      blocksTaken,
      timers: clock.timers,
      closed,
    });
  };
  const timer = setInterval(() => report(), REPORT_MS);
  test.onmessage = (event) => {
    const message = (event as { readonly data: ToTestThread }).data;
    if ('advance' in message) {
      if (message.only !== undefined && message.only !== start.threadId) return;
      void clock.advance(message.advance).then(() => post({ thread: start.threadId, advanced: message.step }));
    } else if (message.crash === start.threadId) {
      throw new Error('The test wants this thread to fail, and says secret words.');
    }
  };
  void thread.run({
    listen: () =>
      new Promise((resolve) => {
        server.listen({ host: listener.host, port: listener.port, reusePort: listener.reusePort }, () => {
          const { address, port: bound } = server.address() as AddressInfo;
          resolve({ host: address, port: bound });
        });
      }),
    present: (pair) => server.setSecureContext(pair),
    // The server accepts requests while the gateway drains, as the server of a test gateway without threads does.
    close: () => undefined,
    destroyConnections() {
      clearInterval(timer);
      report(true);
      server.close();
      server.closeAllConnections();
    },
  });
}

open(workerData as ThreadStart, port);
