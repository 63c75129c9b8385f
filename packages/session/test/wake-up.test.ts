import { expect, it } from 'vitest';
import { Budget } from '../src/core/budget.ts';
import type { ConnectionEvents } from '../src/core/connection.ts';
import { FRAME, HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../src/core/frame.ts';
import { FrameReader } from '../src/core/frame-reader.ts';
import { Multiplexer } from '../src/core/multiplexer.ts';
import { World } from './virtual-world.ts';

const EVENTS: ConnectionEvents = {
  data: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  aborted: () => undefined,
};

it('control frames go as soon as the link has passed on what was before them, though all of it was acknowledged already', () => {
  const world = new World(1);
  const sent: number[] = [];
  let offset = 0;
  const reader = new FrameReader((type, _connection, length) => {
    sent.push(type);
    if ((type & 0x40) === 0) offset += HEADER_BYTES + length;
  });
  let flushed: (() => void)[] = [];
  const multiplexer = new Multiplexer({
    side: 'service',
    environment: world.environment(),
    budget: new Budget(16_777_216),
    events: {},
  });
  const output = {
    messageBytes: 65_536,
    write: (parts: readonly Uint8Array[], done: () => void) => {
      for (const part of parts) reader.push(part.slice());
      flushed.push(done);
    },
  };
  multiplexer.attach(output, 0, 0);
  const bulk = multiplexer.open('bulk', new Uint8Array(1), EVENTS);
  const other = multiplexer.open('other', new Uint8Array(1), EVENTS);
  const run = (): void => void world.run(world.now + 1);
  run();
  for (const done of flushed.splice(0)) done();
  multiplexer.acknowledge(offset);
  for (const id of [1, 3]) multiplexer.receive(FRAME.opened, id, 4, [Uint8Array.of(0, 16, 0, 0)]);
  // Two messages: the rate is not known before the first is acknowledged.
  bulk?.write(new Uint8Array(15 * 4_096 + MAX_PAYLOAD_BYTES));
  run();
  // All was sent and acknowledged; the transport has not said yet that it has passed it on.
  multiplexer.acknowledge(offset);
  run();
  other?.end();
  run();
  for (let turn = 0; turn < 10 && flushed.length > 0; turn++) {
    const done = flushed;
    flushed = [];
    for (const call of done) call();
    run();
  }
  expect(sent.at(-1)).toBe(FRAME.end);
});
