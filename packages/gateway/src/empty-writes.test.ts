import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type RawWebSocket, rawClose, rawFrame, startGateway } from '@culvert/testkit';
import { expect, test, vi } from 'vitest';
import { openPair } from './pair.fixture.ts';

/** Counts the writes of TLS sockets other than the clients' from now on, and those among them that hold nothing. */
function countWrites(clients: readonly RawWebSocket[]) {
  const isOurs = (socket: unknown) =>
    socket instanceof TLSSocket && !clients.some((client) => client.socket === socket);
  const counts = { all: 0, empty: 0 };
  const count = (socket: unknown, bytes: number) => {
    if (!isOurs(socket)) return;
    counts.all++;
    if (bytes === 0) counts.empty++;
  };
  const { _write: write, _writev: writev } = Socket.prototype;
  vi.spyOn(Socket.prototype, '_write').mockImplementation(function (this: Socket, chunk: Buffer, encoding, done) {
    count(this, chunk.length);
    write.call(this, chunk, encoding, done);
  });
  vi.spyOn(Socket.prototype, '_writev').mockImplementation(function (this: Socket, chunks, done) {
    count(
      this,
      chunks.reduce((sum, { chunk }) => sum + (chunk as Buffer).length, 0),
    );
    writev?.call(this, chunks, done);
  });
  return counts;
}

// Node's TLS reads the next record within an empty write: over the one that is being looked at, in the buffer that all connections share.
test.each([
  ['read into the frame memory', {}],
  ['plain', { plain: true }],
])('nothing that clients say makes the relay write nothing: %s', async (_how, options) => {
  const bench = await startGateway(options);
  const open: RawWebSocket[] = [];
  const { device, service } = await openPair(bench, open);
  const counts = countWrites(open);
  try {
    const empty = Buffer.alloc(0);
    const ended = Promise.all([device, service].map(({ closed }) => closed));
    for (const client of [device, service]) {
      client.socket.resume();
      client.send(rawFrame(2, empty), rawFrame(9, empty), rawFrame(2, empty, { fin: false }), rawFrame(0, empty));
      client.send(rawFrame(9, 'ping'), rawFrame(10, empty));
      for (const byte of rawFrame(2, 'one byte at a time')) client.send(Buffer.from([byte]));
      client.send(rawFrame(2, empty), rawClose(1000));
    }
    await ended;
    await bench.event('stream-closed');
    expect(counts.empty).toBe(0);
    // To each side what the other said, and its end.
    expect(counts.all).toBeGreaterThanOrEqual(4);
  } finally {
    vi.restoreAllMocks();
    await bench.stop();
  }
});
