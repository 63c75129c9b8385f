import { describe, expect, it } from 'vitest';
import type { SessionConnection } from '../src/core/connection.ts';
import { MAX_RING_BYTES } from '../src/core/frame-sender.ts';
import { Pair, type PairOptions } from './simulated-pair.ts';
import { type WireOptions, World } from './virtual-world.ts';

/** Bytes per millisecond of 1 Mbit/s. */
const MBIT = 125;
const CHUNK = new Uint8Array(65_536);

/** A program that sends without end and counts what it receives; programs of the tests that check every byte are too slow here. */
class Flood {
  received = 0;
  connection: SessionConnection | undefined;

  write(): void {
    while (this.connection?.write(CHUNK) === true);
  }

  data(bytes: Uint8Array): void {
    this.received += bytes.length;
    this.connection?.consumed(bytes.length);
  }

  drained(): void {
    this.write();
  }

  ended(): void {
    // Nobody ends.
  }

  aborted(): void {
    this.connection = undefined;
  }
}

/** A session on a link, with downloads (and uploads) that never end. */
function flooded(wire: WireOptions, downloads: number, uploads = 0, options: PairOptions = {}) {
  const world = new World(1);
  const atDevice: Flood[] = [];
  const pair = new Pair(world, {
    ...options,
    wire: { splits: false, ...wire },
    target: (connection) => {
      const flood = new Flood();
      flood.connection = connection;
      connection.events = flood;
      atDevice.push(flood);
      connection.accept();
      if (connection.service === 'down') flood.write();
      if (connection.service === 'echo')
        flood.data = (bytes) => {
          connection.consumed(bytes.length);
          connection.write(bytes.slice());
        };
    },
  });
  pair.session.start();
  world.run(3 * wire.delayMs + 1_000, () => pair.session.isUp, 50_000_000);
  const open = (service: string): Flood => {
    const flood = new Flood();
    flood.connection = pair.session.open(service, flood);
    if (service === 'up') flood.write();
    return flood;
  };
  const down = Array.from({ length: downloads }, () => open('down'));
  for (let index = 0; index < uploads; index++) open('up');
  const received = (floods: readonly Flood[]): number => floods.reduce((sum, flood) => sum + flood.received, 0);
  return { world, pair, open, down: () => received(down), up: () => received(atDevice) };
}

describe('a 64-byte echo beside bulk', () => {
  it.each([
    ['eight downloads', 8, 0],
    ['eight uploads', 0, 8],
    ['four of each', 4, 4],
  ])(
    '%s on 20 Mbit/s with 12.5 ms each way: p99 at most the round trip + 50 ms, and the bulk has most of the link',
    (_what, downloads, uploads) => {
      const rate = 20 * MBIT;
      const { world, open, down, up } = flooded({ delayMs: 12.5, rate }, downloads, uploads);
      world.run(5_000);
      const echo = open('echo');
      const times: number[] = [];
      let sentAt = 0;
      let missing = 0;
      const send = (): void => {
        sentAt = world.now;
        missing = 64;
        echo.connection?.write(new Uint8Array(64));
      };
      echo.data = (bytes) => {
        echo.connection?.consumed(bytes.length);
        missing -= bytes.length;
        if (missing > 0) return;
        times.push(world.now - sentAt);
        world.setTimer(97, send);
      };
      world.run(6_000);
      send();
      world.run(8_000);
      const [downBefore, upBefore] = [down(), up()];
      times.length = 0;
      world.run(38_000);
      times.sort((a, b) => a - b);
      expect(times.length).toBeGreaterThan(150);
      const p99 = times[Math.floor(times.length * 0.99)] as number;
      expect(p99).toBeLessThanOrEqual(25 + 50);
      if (downloads > 0)
        expect((down() - downBefore) / 30_000).toBeGreaterThanOrEqual((downloads * uploads > 0 ? 0.75 : 0.8) * rate);
      if (uploads > 0)
        expect((up() - upBefore) / 30_000).toBeGreaterThanOrEqual((downloads * uploads > 0 ? 0.75 : 0.8) * rate);
    },
  );
});

describe('one connection', () => {
  it('carries 80 % of a long link: 100 Mbit/s with 100 ms of round trip', () => {
    const rate = 100 * MBIT;
    const { world, down } = flooded({ delayMs: 50, rate }, 1);
    world.run(5_000);
    const before = down();
    world.run(15_000);
    expect((down() - before) / 10_000).toBeGreaterThanOrEqual(0.8 * rate);
  });

  it('that begins small and then floods waits for its turn among the others', () => {
    const { world, down, open, pair } = flooded({ delayMs: 10, rate: 10 * MBIT }, 4);
    world.run(3_000);
    const greedy = open('down');
    world.run(6_000);
    const [allBefore, greedyBefore] = [down(), greedy.received];
    world.run(16_000);
    const others = (down() - allBefore) / 4;
    expect(greedy.received - greedyBefore).toBeLessThan(1.5 * others);
    expect(greedy.received - greedyBefore).toBeGreaterThan(others / 1.5);
    expect(pair.serviceEnd).toBeUndefined();
  });
});

describe('bulk alone', () => {
  const rates = [1, 10, 100, 1_000];
  const roundTrips = [1, 10, 40, 100, 300];
  it.each(rates.flatMap((mbits) => roundTrips.map((ms): [number, number] => [mbits, ms])))(
    'carries nearly all of %i Mbit/s at %i ms',
    (mbits, roundTripMs) => {
      const rate = mbits * MBIT;
      const { world, down } = flooded({ delayMs: roundTripMs / 2, rate }, 8);
      const warmUp = 2_000 + 20 * roundTripMs;
      // At least some hundred frames, and many round trips.
      const time = Math.max(40 * roundTripMs, Math.min(10_000, 20_000_000 / rate));
      world.run(world.now + warmUp, undefined, 50_000_000);
      const before = down();
      world.run(world.now + time, undefined, 50_000_000);
      // A link whose bandwidth × delay is more than all receive windows may grow to carries that much in each round trip.
      const windows = 8_388_608 / (2 * roundTripMs);
      const possible = Math.min(rate, windows, MAX_RING_BYTES / roundTripMs);
      expect((down() - before) / time).toBeGreaterThanOrEqual(0.8 * possible);
    },
  );
});

describe('a link whose round trip', () => {
  it('becomes a hundred times longer, as on a machine with more to do, carries most of its rate a second later', () => {
    const rate = 1_000 * MBIT;
    const { world, pair, down } = flooded({ delayMs: 0.1, rate }, 8);
    world.run(world.now + 1_000, undefined, 50_000_000);
    for (const wire of pair.wires) wire.delayMs = 10;
    world.run(world.now + 1_000, undefined, 50_000_000);
    const before = down();
    world.run(world.now + 1_000, undefined, 50_000_000);
    expect((down() - before) / 1_000).toBeGreaterThanOrEqual(0.8 * rate);
  });

  it('becomes shorter again, holds no more than it needs', () => {
    const rate = 20 * MBIT;
    const { world, pair, open } = flooded({ delayMs: 200, rate }, 8);
    world.run(world.now + 30_000, undefined, 50_000_000);
    for (const wire of pair.wires) wire.delayMs = 5;
    world.run(world.now + 10_000, undefined, 50_000_000);
    const echo = open('echo');
    let answeredAt = 0;
    echo.data = () => {
      answeredAt = world.now;
    };
    world.run(world.now + 2_000, undefined, 50_000_000);
    const sentAt = world.now;
    echo.connection?.write(new Uint8Array(64));
    world.run(world.now + 5_000, () => answeredAt > sentAt, 50_000_000);
    expect(answeredAt - sentAt).toBeGreaterThan(0);
    expect(answeredAt - sentAt).toBeLessThanOrEqual(10 + 60);
  });
});
