import { describe, expect, it } from 'vitest';
import { Budget } from '../src/core/budget.ts';
import { FRAME, HEADER_BYTES } from '../src/core/frame.ts';
import { FrameSender, MAX_RING_BYTES } from '../src/core/frame-sender.ts';
import { World } from './virtual-world.ts';

const MEBIBYTE = 1_048_576;
const PAYLOAD = new Uint8Array(65_536 - HEADER_BYTES);

/** A sender whose programs always have more, on links that pass everything on at once unless `holds`. */
function endlessSender(budget: Budget) {
  const world = new World(1);
  const sender = new FrameSender(world.environment(), budget, {
    isEmpty: false,
    fill: (sink) => {
      if (sink.free >= PAYLOAD.length + HEADER_BYTES) sink.append(FRAME.data, 1, PAYLOAD);
    },
  });
  const messages: { readonly link: number; readonly flushed: () => void }[] = [];
  let links = 0;
  let holds = false;
  const attach = (): void => {
    const link = ++links;
    const output = {
      messageBytes: 65_536,
      write: (_parts: readonly Uint8Array[], flushed: () => void) => {
        messages.push({ link, flushed });
        if (!holds) world.setTimer(0, flushed);
      },
    };
    sender.attach(output, sender.acknowledged, 0);
  };
  return {
    sender,
    messages,
    attach,
    hold: () => {
      holds = true;
    },
    run: (ms: number) => void world.run(world.now + ms),
  };
}

describe('the ring of a link that holds much', () => {
  /** Fills the ring again and again, and has all that was sent acknowledged 10 ms later; returns the most that was unacknowledged. */
  function most(budget: Budget, turns: number): number {
    const { sender, attach, run, messages } = endlessSender(budget);
    attach();
    let largest = 0;
    let acknowledged = 0;
    let sent = 0;
    for (let turn = 0; turn < turns; turn++) {
      run(10);
      sent = messages.length * 65_536;
      largest = Math.max(largest, sent - acknowledged);
      // All but one message: an empty ring needs no growth. Then that one, while the ring is full again.
      for (const offset of [sent - 65_536, sent]) {
        sender.acknowledge(offset);
        acknowledged = offset;
        run(1);
        sent = messages.length * 65_536;
        largest = Math.max(largest, sent - acknowledged);
      }
    }
    sender.close();
    return largest;
  }

  it('grows by what the budget has', () => {
    const rich = new Budget(64 * MEBIBYTE);
    expect(most(rich, 20)).toBeGreaterThan(2 * MEBIBYTE);
    expect(rich.free).toBe(64 * MEBIBYTE);
    // Twice the first MiB takes one MiB more: nothing is paid for twice.
    expect(most(new Budget(2 * MEBIBYTE), 20)).toBeGreaterThan(1.5 * MEBIBYTE);
    const poor = new Budget(MEBIBYTE);
    expect(most(poor, 20)).toBeLessThanOrEqual(MEBIBYTE);
    expect(poor.free).toBe(MEBIBYTE);
  });

  it('has 16 MiB at most', () => {
    const budget = new Budget(256 * MEBIBYTE);
    const largest = most(budget, 60);
    expect(largest).toBeGreaterThan(MAX_RING_BYTES / 2);
    expect(largest).toBeLessThanOrEqual(MAX_RING_BYTES);
  });
});

it('counts on a new link no write of the former one', () => {
  const { sender, messages, attach, hold, run } = endlessSender(new Budget(64 * MEBIBYTE));
  hold();
  attach();
  run(1);
  const former = messages.splice(0);
  expect(former).toHaveLength(2);
  sender.detach();
  attach();
  run(1);
  for (const { flushed } of former) flushed();
  run(1);
  expect(messages.map(({ link }) => link)).toEqual([2, 2]);
});
