// Makes TLS connections over TCP and, at the moment when Node's OpenSSL has just finished the handshake, ends both: `safe` by destroyConnection
// and resetConnection, `unsafe` with the TCP connection first, which no code of Culvert may do. Prints `survived` unless the process dies of it.
// Runs in Node alone, of any version that strips types, so that more than one can be asked.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { destroyConnection, resetConnection } from './destroy-connection.ts';

const [way = '', moment = '', certFile = '', keyFile = ''] = process.argv.slice(2);

/** Each time is enough for the crash; a few more cost nothing. */
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

// `once` of node:events would reject on the resets that are meant here.
const closeOf = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));

let round = 0;
const end = (below: Socket, secure: TLSSocket): void => ends[round % ends.length]?.(below, secure);

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (secure) => {
  secure.on('error', () => undefined);
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const address = server.address();
if (address === null || typeof address === 'string') throw new Error('the server does not listen');
for (; round < ROUNDS; round++) {
  // The client's side.
  const tcp = connectTcp(address.port, '127.0.0.1');
  const secure = connect({ socket: tcp, rejectUnauthorized: false });
  for (const socket of [tcp, secure]) socket.on('error', () => undefined);
  const closed = closeOf(secure);
  secure.once('secureConnect', () => later(() => end(tcp, secure)));
  await closed;
  // The server's side.
  server.once('connection', (below: Socket) => {
    server.once('secureConnection', (accepted: TLSSocket) => later(() => end(below, accepted)));
  });
  const client = connect({ port: address.port, host: '127.0.0.1', rejectUnauthorized: false });
  client.on('error', () => undefined).resume();
  await closeOf(client);
}
server.close();
console.log('survived');
