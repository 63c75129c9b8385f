// Opens TLS connections over TCP and ends both layers at the moment when Node's OpenSSL has just finished the handshake. With `safe` it uses
// destroyConnection and resetConnection. With `unsafe` it destroys the TCP connection directly and first, which Culvert's code must never do.
// Prints `survived` if the process does not crash. Needs nothing but Node, in any version that strips types, so that a test can run it with
// several versions.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { destroyConnection, resetConnection } from './destroy-connection.ts';

const [way = '', moment = '', certFile = '', keyFile = ''] = process.argv.slice(2);

/** One round is enough for the crash; the others take little time. */
const ROUNDS = 20;

const ends: readonly ((below: Socket, secure: TLSSocket) => void)[] =
  way === 'unsafe'
    ? [
        (below, secure) => {
          below.resetAndDestroy();
          secure.destroy();
        },
      ]
    : [
        (below, secure) => {
          destroyConnection(below);
          secure.destroy();
        },
        (below, secure) => {
          resetConnection(below);
          secure.destroy();
        },
        (below, secure) => {
          secure.destroy();
          destroyConnection(below);
        },
        (below) => destroyConnection(below),
        (below) => resetConnection(below),
      ];

const moments: Readonly<Record<string, (then: () => void) => void>> = {
  event: (then) => then(),
  tick: (then) => process.nextTick(then),
  promise: (then) => queueMicrotask(then),
};
const later = moments[moment];
if (later === undefined) throw new Error(`no such moment: ${moment}`);

/** After the unsafe order some connections never report their end. Milliseconds until the next round begins without it. */
const UNSAFE_CLOSE_MS = 2_000;

// `once` of node:events would reject on the resets, which are intended here.
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const timer = way === 'unsafe' ? setTimeout(resolve, UNSAFE_CLOSE_MS) : undefined;
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

let round = 0;
const end = (below: Socket, secure: TLSSocket): void => ends[round % ends.length]?.(below, secure);

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (secure) => {
  secure.on('error', () => undefined);
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const address = server.address();
if (address === null || typeof address === 'string') throw new Error('the server does not listen');
for (; round < ROUNDS; round++) {
  // End the client's side.
  const tcp = connectTcp(address.port, '127.0.0.1');
  const secure = connect({ socket: tcp, rejectUnauthorized: false });
  for (const socket of [tcp, secure]) socket.on('error', () => undefined);
  const closed = closeOf(secure);
  secure.once('secureConnect', () => later(() => end(tcp, secure)));
  await closed;
  // End the server's side.
  server.once('connection', (below: Socket) => {
    server.once('secureConnection', (accepted: TLSSocket) => later(() => end(below, accepted)));
  });
  const client = connect({ port: address.port, host: '127.0.0.1', rejectUnauthorized: false });
  client.on('error', () => undefined).resume();
  await closeOf(client);
}
server.close();
console.log('survived');
// What the unsafe order has left open would keep the process alive.
if (way === 'unsafe') process.exit(0);
