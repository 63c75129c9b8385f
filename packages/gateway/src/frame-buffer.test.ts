import { expect, test } from 'vitest';
import { BufferPool, type PooledBuffer } from './buffer-pool.ts';
import { FrameBuffer } from './frame-buffer.ts';

const memory = BufferPool.ofThread;

/** Every pooled buffer there is, to no holder that could be asked for it. */
function takeAll(): PooledBuffer[] {
  const buffers: PooledBuffer[] = [];
  const writer = { settle: () => undefined };
  for (let pooled = memory?.take(writer); pooled !== undefined; pooled = memory?.take(writer)) {
    memory?.handOver(writer);
    buffers.push(pooled);
  }
  expect(buffers.length).toBe(128);
  return buffers;
}

function append(buffer: FrameBuffer, text: string): void {
  buffer.makeRoom(text.length);
  buffer.end += buffer.bytes.write(text, buffer.end, 'latin1');
}

test('what stays when the pooled buffer goes is kept, with room for as much again and no more', () => {
  const buffer = new FrameBuffer(memory);
  append(buffer, 'x'.repeat(10_000));
  expect([buffer.isPooled, memory?.taken]).toEqual([true, 1]);
  buffer.settle();
  expect([buffer.isPooled, memory?.taken, buffer.bytes.length]).toEqual([false, 0, 20_000]);
  append(buffer, 'y'.repeat(10_000));
  expect(buffer.isPooled).toBe(false);
  append(buffer, 'z');
  expect(buffer.isPooled).toBe(true);
  expect(buffer.bytes.toString('latin1', 9_999, 10_001)).toBe('xy');
  buffer.clear();
  expect([buffer.bytes.length, memory?.taken]).toEqual([0, 0]);
});

test('when all pooled buffers are in use, or there are none, ordinary buffers do', () => {
  const buffers = takeAll();
  for (const none of [memory, undefined]) {
    const buffer = new FrameBuffer(none);
    append(buffer, 'whole');
    buffer.whole = 5;
    append(buffer, 'half');
    const filled = buffer.take();
    expect([filled?.bytes.toString(), filled?.pooled, buffer.end]).toEqual(['whole', undefined, 4]);
  }
  for (const pooled of buffers) memory?.give(pooled);
});

test('when all pooled buffers are in use, the one that was held longest is given up, and nothing in it is lost', () => {
  const quiet = [new FrameBuffer(memory), new FrameBuffer(memory)] as const;
  append(quiet[0], 'first');
  append(quiet[1], 'second');
  quiet[1].whole = 3;
  const buffers = takeAll();
  expect(quiet.map((buffer) => buffer.isPooled)).toEqual([false, false]);
  memory?.give(buffers.pop() as PooledBuffer);
  append(quiet[0], ' and more than there was room for'.repeat(100));
  const busy = new FrameBuffer(memory);
  append(busy, 'busy');
  expect([quiet[0].isPooled, busy.isPooled]).toEqual([false, true]);
  expect(quiet[0].bytes.toString('latin1', 0, 14)).toBe('first and more');
  expect(quiet[1].take()?.bytes.toString()).toBe('sec');
  expect(quiet[1].bytes.toString('latin1', 0, quiet[1].end)).toBe('ond');
  busy.clear();
  for (const pooled of buffers) memory?.give(pooled);
  expect(memory?.taken).toBe(0);
});

test('more than a pooled buffer, while nobody takes it, is held in one ordinary buffer', () => {
  const buffer = new FrameBuffer(memory);
  append(buffer, 'x'.repeat(190_000));
  append(buffer, 'y'.repeat(20_000));
  expect([buffer.isPooled, memory?.taken, buffer.end]).toEqual([false, 0, 210_000]);
  expect(buffer.bytes.toString('latin1', 189_999, 190_001)).toBe('xy');
});
