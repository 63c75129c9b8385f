import { expect, it } from 'vitest';
import { Budget } from '../src/core/budget.ts';
import { type ConnectionOwner, SessionConnection } from '../src/core/connection.ts';
import { DataQueues, type DataSink } from '../src/core/data-queues.ts';
import { ReceiveWindows } from '../src/core/receive-windows.ts';

const OWNER: ConnectionOwner = {
  wantsToSend: () => undefined,
  owesLimit: () => undefined,
  accept: () => undefined,
  abort: () => undefined,
  refuse: () => undefined,
  roundTripMs: undefined,
  now: 0,
};

/** Queues, and a link of 1 GB/s that takes what it has room for and writes down what it was given. */
function queues() {
  const windows = new ReceiveWindows(new Budget(0));
  const data = new DataQueues(() => 0);
  const written: (readonly [id: number, bytes: number])[] = [];
  let left = 0;
  const sink = {
    message: 0,
    isBusy: true,
    rate: 1_000_000,
    room: () => left,
    inFlightLimit: () => left,
    writeData(connection: SessionConnection, bytes: number) {
      written.push([connection.id, bytes]);
      left -= bytes + 8;
      connection.take(bytes, () => undefined);
    },
  } satisfies DataSink;
  let id = -1;
  return {
    data,
    written,
    sink,
    /** A connection that may send without end, with this much to send. */
    add(bytes: number): SessionConnection {
      id += 2;
      const events = {
        data: () => undefined,
        ended: () => undefined,
        drained: () => undefined,
        aborted: () => undefined,
      };
      const connection = new SessionConnection(OWNER, id, 'x', windows.open(), events);
      connection.sendLimit = Number.MAX_SAFE_INTEGER;
      connection.write(new Uint8Array(bytes));
      data.add(connection, 1);
      return connection;
    },
    /** Fills a message with at most this many bytes. */
    write(bytes: number): void {
      left = bytes;
      sink.message++;
      data.write(sink, () => undefined);
    },
  };
}

it('a connection that begins with little and goes on with much waits for its turn among the others', () => {
  const { add, write, written } = queues();
  const greedy = add(100);
  greedy.write(new Uint8Array(200_000));
  const patient = add(200_000);
  for (let message = 0; message < 6; message++) write(16_392);
  const bytesOf = (one: SessionConnection): number =>
    written.filter(([id]) => id === one.id).reduce((sum, [, bytes]) => sum + bytes, 0);
  expect(bytesOf(patient)).toBe(bytesOf(greedy));
});

it('few bytes for which a full message had no room wait until it was passed on, and go then with what has come', () => {
  const { add, write, written, sink } = queues();
  const connection = add(65_536);
  write(65_536);
  expect(written).toEqual([[1, 65_528]]);
  // The same message, as long as the link is busy with it.
  sink.message--;
  write(65_536);
  expect(written).toHaveLength(1);
  connection.write(new Uint8Array(4_088));
  sink.message--;
  write(65_536);
  expect(written.slice(1)).toEqual([[1, 4_096]]);
});

it('the last bytes of a program wait for nothing', () => {
  const { add, write, written, sink } = queues();
  const connection = add(65_536);
  write(65_536);
  connection.end();
  sink.message--;
  write(65_536);
  expect(written).toEqual([
    [1, 65_528],
    [1, 8],
  ]);
});

it('connections that are over do not pile up in queues that nobody writes', () => {
  const { add, data } = queues();
  for (let index = 0; index < 1_000; index++) {
    const connection = add(10);
    connection.isOver = true;
    expect(data.length).toBeLessThanOrEqual(2 + 64 + 1);
  }
});
