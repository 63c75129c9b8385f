import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionDuplex, type ConnectionReceiver } from './connection-duplex.ts';
import { RecordingConnection } from './recording-connection.fixture.ts';

let calls: string[];
let consumed: number;
/** What was thrown in a turn of its own. */
let thrown: (() => void)[];

beforeEach(() => {
  [calls, consumed, thrown] = [[], 0, []];
  vi.stubGlobal('queueMicrotask', (callback: () => void) => thrown.push(callback));
});
afterEach(() => void vi.unstubAllGlobals());

function started(duplex = new ConnectionDuplex(), write = true): ConnectionDuplex {
  const told = {
    call: (text: string) => void calls.push(text),
    consumed: (bytes: number) => {
      consumed += bytes;
    },
  };
  duplex.start(new RecordingConnection(told, write));
  return duplex;
}

/** Numbered bytes, each a piece of its own, as views of large chunks. */
function* singleBytes(count: number): Generator<Uint8Array> {
  for (let index = 0; index < count; index++) yield new Uint8Array(1_024).fill(index).subarray(0, 1);
}

/** The same bytes in one. */
function numbered(count: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: count }, (_, index) => index));
}

it('keeps single bytes that are not read in few buffers, and gives all of them in order', async () => {
  const duplex = started();
  for (const piece of singleBytes(100_000)) duplex.data(piece);
  await new Promise(setImmediate);
  for (const piece of singleBytes(100_000)) duplex.data(piece);
  expect(consumed).toBe(0);
  duplex.ended();
  const chunks: Buffer[] = [];
  for await (const chunk of duplex) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).equals(Buffer.concat([numbered(100_000), numbered(100_000)]))).toBe(true);
  expect(consumed).toBe(200_000);
  expect(chunks.length).toBeLessThan(30);
});

it('gives single bytes that come in several turns without waiting for more', async () => {
  const duplex = started();
  const chunks: Buffer[] = [];
  duplex.on('readable', () => {
    for (let chunk = duplex.read(); chunk !== null; chunk = duplex.read()) chunks.push(chunk);
  });
  for (let turn = 0; turn < 10; turn++) {
    duplex.data(Uint8Array.of(1));
    duplex.data(Uint8Array.of(2));
    duplex.data(new Uint8Array(5_000));
    duplex.data(Uint8Array.of(3));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(Buffer.concat(chunks)).toHaveLength(5_003 * (turn + 1));
    expect(consumed).toBe(5_003 * (turn + 1));
  }
});

describe('tells of all bytes that were read', () => {
  /** A whole window, which arrives before the program reads: the peer sends nothing more until it hears that something was read. */
  async function filled(bytes: number): Promise<ConnectionDuplex> {
    const duplex = started();
    for (let at = 0; at < bytes; at += 8_192) duplex.data(new Uint8Array(8_192));
    await new Promise(setImmediate);
    expect(consumed).toBe(0);
    return duplex;
  }

  it.each([8_192, 262_144])('by an iterator, of %i bytes', async (bytes) => {
    const duplex = await filled(bytes);
    const chunk: IteratorResult<Buffer> = await duplex[Symbol.asyncIterator]().next();
    expect(chunk.value).toHaveLength(bytes);
    expect(consumed).toBe(bytes);
  });

  it.each([8_192, 262_144])('by `data`, of %i bytes', async (bytes) => {
    const duplex = await filled(bytes);
    duplex.on('data', () => undefined);
    await vi.waitFor(() => expect(consumed).toBe(bytes));
  });

  it('by `read` with a size', async () => {
    const duplex = await filled(8_192);
    expect(duplex.read(5_000)).toHaveLength(5_000);
    expect(consumed).toBe(5_000);
  });
});

it('hands over what was not read, in order', () => {
  const duplex = started();
  const pieces = [new Uint8Array(70_000).fill(1), Uint8Array.of(2), Uint8Array.of(3), new Uint8Array(9_000).fill(4)];
  for (const piece of [...pieces, Uint8Array.of(5)]) duplex.data(piece);
  const received: Uint8Array[] = [];
  duplex.handOver({ data: (bytes) => received.push(bytes) } as Partial<ConnectionReceiver> as ConnectionReceiver);
  expect(Buffer.concat(received).equals(Buffer.concat([...pieces, Uint8Array.of(5)]))).toBe(true);
});

it('does not let errors of listeners into the session, and throws them apart', async () => {
  const duplex = started(new ConnectionDuplex(), false);
  duplex.on('data', () => {
    throw new Error('a mistake of the program');
  });
  await new Promise(setImmediate);
  duplex.data(Uint8Array.of(1, 2, 3));
  expect(consumed).toBe(3);
  duplex.write('text', () => {
    throw new Error('another one');
  });
  duplex.drained();
  expect(thrown).toHaveLength(2);
  expect(thrown[0]).toThrow('a mistake of the program');
  expect(thrown[1]).toThrow('another one');
});

it('resets a connection that it gets after it was destroyed', () => {
  const duplex = new ConnectionDuplex();
  duplex.destroy();
  started(duplex);
  expect(calls).toEqual(['abort reset']);
});
