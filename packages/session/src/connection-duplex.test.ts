import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionDuplex } from './connection-duplex.ts';
import type { SessionConnection } from './core/connection.ts';

let calls: string[];
let consumed: number;

beforeEach(() => {
  [calls, consumed] = [[], 0];
});

function started(duplex = new ConnectionDuplex(), write = true): ConnectionDuplex {
  const connection = {
    write: () => write,
    end: () => calls.push('end'),
    abort: (reason: string) => calls.push(`abort ${reason}`),
    consumed: (bytes: number) => (consumed += bytes),
  };
  duplex.start(connection as unknown as SessionConnection);
  return duplex;
}

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

it('resets a connection that it gets after it was destroyed', () => {
  const duplex = new ConnectionDuplex();
  duplex.destroy();
  started(duplex);
  expect(calls).toEqual(['abort reset']);
});
