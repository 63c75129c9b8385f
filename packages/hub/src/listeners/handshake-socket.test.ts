import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, it } from 'vitest';
import { HandshakeSocket } from './handshake-socket.ts';

/** A connection that receives many chunks in one turn of the event loop, before it can be closed. */
function bench(admits: number, maxBytes: number) {
  const told: string[] = [];
  let taken = 0;
  const tcp = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const socket = new HandshakeSocket(tcp as Socket, Buffer.alloc(0), {
    maxBytes,
    mayContinue() {
      if (admits-- > 0) return true;
      told.push('refused');
      return false;
    },
    onTooLong: () => told.push('too long'),
    onWork: () => undefined,
  });
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length;
  });
  return {
    async come(chunks: number): Promise<{ told: readonly string[]; taken: number }> {
      await new Promise(setImmediate);
      for (let chunk = 0; chunk < chunks; chunk++) {
        tcp.emit('data', Buffer.alloc(100));
        socket.read(0);
      }
      return { told, taken };
    },
  };
}

it('is refused once, whatever else comes in that turn', async () => {
  expect(await bench(2, 10_000).come(30)).toEqual({ told: ['refused'], taken: 200 });
});

it('is too long once, whatever else comes in that turn', async () => {
  expect(await bench(100, 250).come(30)).toEqual({ told: ['too long'], taken: 250 });
});
