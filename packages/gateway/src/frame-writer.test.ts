import { Duplex } from 'node:stream';
import { LIMITS } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { BufferPool } from './buffer-pool.ts';
import { FrameBuffer } from './frame-buffer.ts';
import { FrameWriter } from './frame-writer.ts';

const memory = BufferPool.ofThread;
const nextIteration = () => new Promise((resolve) => setImmediate(resolve));

afterEach(() => {
  expect(memory?.taken).toBe(0);
});

/** A writer to a socket that finishes a write when told, and the buffer that it takes frames from. */
function connected() {
  const written: string[] = [];
  const finishers: (() => void)[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, callback) => {
      written.push(chunk.toString());
      finishers.push(callback);
    },
  });
  const told: string[] = [];
  const listener = {
    full: () => told.push('full'),
    drained: () => told.push('drained'),
    stalled: () => told.push('stalled'),
  };
  const clock = new FakeClock();
  const writer = new FrameWriter(socket, listener, { clock, stallMs: 300_000, memory });
  const source = new FrameBuffer(memory);
  writer.takeFrom(source);
  const add = (text: string, whole = text.length): void => {
    source.makeRoom(text.length);
    source.bytes.write(text, source.end, 'latin1');
    source.whole = source.end + whole;
    source.end += text.length;
  };
  return {
    written,
    told,
    clock,
    writer,
    source,
    add,
    offer(text: string, whole?: number): void {
      add(text, whole);
      writer.offer();
    },
    async finish(): Promise<void> {
      finishers.shift()?.();
      await nextIteration();
    },
    end(): void {
      writer.destroy();
      socket.destroy();
    },
  };
}

describe('a frame writer', () => {
  it('never writes nothing: it would rather fail', () => {
    const { written, writer, end } = connected();
    expect(() => writer.last(Buffer.alloc(0), () => undefined)).toThrow('an empty write');
    expect(written).toEqual([]);
    end();
  });

  it('writes at once what comes alone', async () => {
    const { written, offer, finish, end } = connected();
    await nextIteration();
    offer('one');
    expect(written).toEqual(['one']);
    await finish();
    await nextIteration();
    offer('two');
    expect(written).toEqual(['one', 'two']);
    end();
  });

  it('gathers what comes while a write is under way, and from then on what comes within an iteration', async () => {
    const { written, offer, finish, end } = connected();
    await nextIteration();
    offer('a');
    offer('b');
    offer('c');
    expect(written).toEqual(['a']);
    await finish();
    expect(written).toEqual(['a', 'bc']);
    await finish();
    offer('d');
    offer('e');
    expect(written).toEqual(['a', 'bc']);
    await nextIteration();
    expect(written).toEqual(['a', 'bc', 'de']);
    end();
  });

  it('keeps back what is not whole', async () => {
    const { written, source, offer, add, finish, writer, end } = connected();
    await nextIteration();
    offer('whole, beginning', 5);
    await nextIteration();
    expect([written, source.end]).toEqual([['whole'], 11]);
    await finish();
    add('; rest');
    writer.offer();
    await nextIteration();
    expect(written).toEqual(['whole', ', beginning; rest']);
    expect(source.isPooled).toBe(false);
    end();
  });

  it('is full when 64 KiB wait behind a write, or when a pooled buffer is full', async () => {
    const { told, offer, finish, writer, add, written, end } = connected();
    await nextIteration();
    offer('first');
    offer('x'.repeat(LIMITS.frameBytes - 1));
    expect(told).toEqual([]);
    offer('y');
    expect([told, writer.full]).toEqual([['full'], true]);
    await finish();
    expect([told, writer.full]).toEqual([['full', 'drained'], false]);
    add('spilt');
    writer.spill();
    expect([told.length, writer.full, written.length]).toEqual([3, true, 2]);
    await finish();
    expect(written[2]).toBe('spilt');
    end();
  });

  it('pings when the write before is done, also when frames never cease', async () => {
    const { written, offer, writer, finish, end } = connected();
    await nextIteration();
    offer('one');
    let sent = 0;
    writer.ping(Buffer.from('ping'), () => sent++);
    writer.pong(Buffer.from('old'));
    writer.pong(Buffer.from('new'));
    offer('two');
    await nextIteration();
    expect([sent, written]).toEqual([0, ['one']]);
    await finish();
    for (let i = 0; i < 3; i++) await finish();
    expect([sent, written]).toEqual([1, ['one', '\u{FFFD}\u{3}new', 'ping', 'two']]);
    end();
  });

  it('sends the last frame after all that is whole, and nothing behind it', async () => {
    const { written, offer, writer, finish, end } = connected();
    await nextIteration();
    offer('one');
    offer('two, half', 3);
    let done = false;
    writer.last(Buffer.from('close'), () => {
      done = true;
    });
    writer.ping(Buffer.from('ping'), () => undefined);
    for (let i = 0; i < 2; i++) await finish();
    expect(done).toBe(false);
    await finish();
    expect([done, written]).toEqual([true, ['one', 'two', 'close']]);
    end();
  });

  it('tells once when a write makes no progress', async () => {
    const { told, offer, clock, end } = connected();
    await nextIteration();
    offer('one');
    await clock.advance(299_999);
    expect(told).toEqual([]);
    await clock.advance(1);
    await clock.advance(300_000);
    expect(told).toEqual(['stalled']);
    end();
  });
});
