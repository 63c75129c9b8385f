import { shapedDeviceNetwork } from '../network/device-network.ts';
import type { RunningPeer } from '../peers/peer.ts';
import { findProgram } from '../processes/programs.ts';
import { percentile } from '../statistics.ts';
import { besideBulk } from '../traffic/bulk.ts';
import { Connection } from '../traffic/connection.ts';
import type { Measurement, Scenario } from './scenario.ts';

const ROUND_TRIP_MS = 25;
const MEGABITS_PER_SECOND = 20;
/** Milliseconds of packets that the link queues, as routers of homes and mobile networks do. */
const QUEUE_MS = 200;
const BYTES = 64;
const ALONE = 200;
/** Milliseconds for which the echo is measured beside the transfers, and their rate with it. */
const BESIDE_MS = 12_000;
/** Round trips between two checks of the clock. */
const PIECE = 5;
const BULK_CONNECTIONS = 8;
/** The link moves one such piece of each connection in less than half a second. */
const BULK_PIECE_BYTES = 131_072;
const DIRECTIONS = { down: 'downloads', up: 'uploads' } as const;

/** Measures whether a keystroke waits behind bulk transfers when the device's link is slow. */
export const slowLink: Scenario = {
  name: 'slow-link',
  title: () =>
    `${BYTES} bytes there and back on one open connection, alone and beside ${BULK_CONNECTIONS} downloads, then uploads, for ${BESIDE_MS / 1000} s each; the device's link takes ${ROUND_TRIP_MS} ms there and back, moves ${MEGABITS_PER_SECOND} Mbit/s each way, and queues ${QUEUE_MS} ms of packets`,
  family: 'tunnel',
  isolated: true,
  deviceNetwork: () =>
    shapedDeviceNetwork({
      roundTripMs: ROUND_TRIP_MS,
      megabitsPerSecond: MEGABITS_PER_SECOND,
      queueMs: QUEUE_MS,
    }),
  missing: () => {
    const absent = ['unshare', 'nsenter', 'ip', 'python3'].filter((program) => findProgram(program) === undefined);
    return absent.length === 0 ? undefined : `${absent.join(', ')} not found: install util-linux, iproute2, python3`;
  },
  metrics: () => [
    { name: 'alone, p50', unit: 'ms', better: 'lower' },
    { name: 'alone, p99', unit: 'ms', better: 'lower' },
    ...Object.values(DIRECTIONS).flatMap((bulk) => [
      { name: `beside ${bulk}, p50`, unit: 'ms', better: 'lower' as const },
      { name: `beside ${bulk}, p99`, unit: 'ms', better: 'lower' as const },
      { name: `the ${bulk}`, unit: '% of the link', better: 'higher' as const },
    ]),
  ],
  workUnit: 'round trip',
  applies: () => true,
  warmUp: async ({ entry }) => {
    const connection = new Connection(entry);
    await connection.pingPong(BYTES, 1).finally(() => connection.close());
  },
  measure,
};

async function measure({ entry }: RunningPeer): Promise<Measurement> {
  const values: Record<string, number> = {};
  const connection = new Connection(entry);
  let trips = 0;
  const record = (name: string, milliseconds: ArrayLike<number>): void => {
    trips += milliseconds.length;
    values[`${name}, p50`] = percentile(milliseconds, 50);
    values[`${name}, p99`] = percentile(milliseconds, 99);
  };
  try {
    // Opens the connection.
    await connection.pingPong(BYTES, 1);
    record('alone', await connection.pingPong(BYTES, ALONE));
    for (const direction of ['down', 'up'] as const) {
      const bulk = { connections: BULK_CONNECTIONS, direction, pieceBytes: BULK_PIECE_BYTES };
      const { result, bytesPerSecond } = await besideBulk(entry, bulk, () => echoFor(connection));
      record(`beside ${DIRECTIONS[direction]}`, result);
      values[`the ${DIRECTIONS[direction]}`] = ((bytesPerSecond * 8) / 1e6 / MEGABITS_PER_SECOND) * 100;
    }
    return { values, work: trips };
  } finally {
    await connection.close();
  }
}

/** Returns the milliseconds of each round trip in {@link BESIDE_MS}. */
async function echoFor(connection: Connection): Promise<readonly number[]> {
  const until = performance.now() + BESIDE_MS;
  const milliseconds: number[] = [];
  while (performance.now() < until) milliseconds.push(...(await connection.pingPong(BYTES, PIECE)));
  return milliseconds;
}
