import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Address, Connection } from './connection.ts';
import { matchesPattern, patternAt } from './pattern.ts';
import { encodeRequest } from './request.ts';
import { createTarget } from './target.ts';

/** More than the pattern's block, so that a transfer wraps around. */
const LONG = 3_000_017;

let server: Server | undefined;

afterEach(() => {
  server?.close();
});

async function listening(created: Server): Promise<Address> {
  server = created.listen(0, '127.0.0.1');
  await once(created, 'listening');
  return { host: '127.0.0.1', port: (created.address() as AddressInfo).port };
}

/** A peer that damages the bytes it carries: it answers every request with `answer`. */
const answering = (answer: Buffer): Promise<Address> =>
  listening(
    createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', () => socket.write(answer));
    }),
  );

describe('a connection to the target', () => {
  it('does one operation after the other', async () => {
    const connection = new Connection(await listening(createTarget()));
    expect(await connection.pingPong(64, 20)).toHaveLength(20);
    expect(await connection.download(LONG)).toBeGreaterThan(0);
    expect(await connection.upload(LONG)).toBeGreaterThan(0);
    expect((await connection.pingPong(16, 1))[0]).toBeGreaterThan(0);
    await connection.close();
  });

  it('that is cut in the middle of a download leaves the target as it was', async () => {
    const address = await listening(createTarget());
    const cut = connect(address.port, address.host);
    cut.write(encodeRequest('D', 1_000_000_000));
    await once(cut, 'data');
    cut.resetAndDestroy();
    const connection = new Connection(address);
    expect(await connection.download(LONG)).toBeGreaterThan(0);
    await connection.close();
  });

  it.each([
    ['download', (connection: Connection) => connection.download(1000)],
    ['upload', (connection: Connection) => connection.upload(1000)],
    ['round trip', (connection: Connection) => connection.pingPong(64, 2)],
  ])('fails a %s when a byte is wrong', async (_name, operate) => {
    const wrong = Buffer.from(patternAt(0, 64));
    wrong[63] = (wrong[63] ?? 0) ^ 1;
    const connection = new Connection(await answering(wrong));
    await expect(operate(connection)).rejects.toThrow(/wrong/);
    await connection.close();
  });

  it('fails a download when the connection ends before the last byte', async () => {
    const address = await listening(
      createServer((socket) => {
        socket.once('data', () => socket.end(patternAt(0, 999)));
      }),
    );
    const connection = new Connection(address);
    await expect(connection.download(1000)).rejects.toThrow('ended in the middle');
    await connection.close();
  });

  it('fails when nothing listens', async () => {
    const address = await listening(createTarget());
    await new Promise((resolve) => server?.close(resolve));
    await expect(new Connection(address).download(1)).rejects.toThrow('ECONNREFUSED');
  });
});

describe('the target', () => {
  it('says that an upload is damaged', async () => {
    const address = await listening(createTarget());
    const socket = connect(address);
    socket.write(Buffer.concat([encodeRequest('U', 3), Buffer.from('abc')]));
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect([...answer]).toEqual([0]);
    socket.destroy();
  });
});

describe('the pattern', () => {
  it('tells a piece that was lost, doubled or moved', () => {
    const piece = Buffer.from(patternAt(0, 4096));
    expect(matchesPattern(piece, 0)).toBe(true);
    expect(matchesPattern(piece, 4096)).toBe(false);
    expect(matchesPattern(piece, 1)).toBe(false);
    expect(matchesPattern(piece, 2 ** 20)).toBe(false);
  });
});
