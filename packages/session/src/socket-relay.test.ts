import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Budget } from './core/budget.ts';
import { type ConnectionOwner, SessionConnection } from './core/connection.ts';
import { ReceiveWindows } from './core/receive-windows.ts';
import { RecordingConnection } from './recording-connection.fixture.ts';
import { type RelayEnd, SocketRelay } from './socket-relay.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** Both ends of a TCP connection. */
async function pair(): Promise<readonly [relayed: Socket, program: Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const program = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [relayed] = (await once(server, 'connection')) as [Socket];
  server.close();
  sockets.push(relayed, program);
  return [relayed, program];
}

/** A relay whose connection has a session without a link: nothing is sent. */
async function relayWithoutLink() {
  const [relayed, program] = await pair();
  const calls: string[] = [];
  const ends: RelayEnd[] = [];
  const relay = new SocketRelay(relayed, (end) => ends.push(end));
  const owner: ConnectionOwner = {
    wantsToSend: ({ queuedBytes, hasEnded }) => void calls.push(hasEnded ? 'end' : `write ${queuedBytes}`),
    abort: (_connection, reason) => void calls.push(`abort ${reason}`),
    owesLimit: () => undefined,
    accept: () => undefined,
    refuse: () => undefined,
    roundTripMs: undefined,
    now: 0,
  };
  relay.start(new SessionConnection(owner, 1, 'x', new ReceiveWindows(new Budget(0)).open(), relay));
  return { relayed, program, relay, calls, ends };
}

it('keeps the last bytes of a program that has ended both directions, until the connection has sent them', async () => {
  const { relayed, program, relay, calls, ends } = await relayWithoutLink();
  relay.ended();
  program.end('last words');
  program.resume();
  await once(relayed, 'close');
  expect(calls).toEqual(['write 10', 'end']);
  expect(ends).toEqual([]);
  relay.finished();
  expect(ends).toEqual([expect.objectContaining({ endedBy: 'remote', bytesSent: 10, reason: undefined })]);
});

it('resets the connection of a program that is gone before the peer has ended', async () => {
  const { relayed, program, calls } = await relayWithoutLink();
  const closed = new Promise((resolve) => relayed.once('close', resolve));
  program.resetAndDestroy();
  await closed;
  expect(calls[0]).toBe('abort reset');
});

it('keeps single bytes for a program that does not read in few writes, and gives all of them in order', async () => {
  const [relayed, program] = await pair();
  let consumed = 0;
  const relay = new SocketRelay(relayed, () => undefined);
  relay.start(
    new RecordingConnection({
      consumed: (bytes) => {
        consumed += bytes;
      },
    }),
  );
  const first = new Uint8Array(30_000_000);
  relay.data(first);
  let writes = 0;
  const write = relayed.write.bind(relayed);
  relayed.write = ((...parameters: Parameters<Socket['write']>) => {
    writes++;
    return write(...parameters);
  }) as Socket['write'];
  const count = 262_144;
  for (let index = 0; index < count; index++) {
    relay.data(new Uint8Array(64).fill(index).subarray(0, 1));
    if (index % 100 === 0) await new Promise(setImmediate);
  }
  relay.ended();
  expect(consumed).toBe(0);
  expect(writes).toBeLessThan(100);
  const chunks: Buffer[] = [];
  for await (const chunk of program) chunks.push(chunk as Buffer);
  program.end();
  await once(relayed, 'close');
  const tail = Buffer.concat(chunks).subarray(first.length);
  expect(tail.equals(Buffer.from(Uint8Array.from({ length: count }, (_, index) => index)))).toBe(true);
  expect(consumed).toBe(first.length + count);
});
