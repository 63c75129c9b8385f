import { setTimeout as sleep } from 'node:timers/promises';
import { runForOutput } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Address } from '../traffic/connection.ts';
import { bytesAndSeconds } from '../traffic/iperf-report.ts';
import type { Measurement, Scenario } from './scenario.ts';

const MB = 1e6;
const CONNECTIONS = [1, 8] as const;
const DIRECTIONS = ['down', 'up'] as const;
/**
 * Seconds per transfer.
 * The limit is a time and not a number of bytes: in a tunnel, iperf3's end message can overtake the last bytes, which are then not counted.
 */
const SECONDS = 2;
const WARM_UP_SECONDS = 1;
/** Milliseconds between attempts: the end of a transfer reaches the server later through a tunnel, and until then the server accepts no other transfer. */
const BUSY_MS = 200;
const MOST_ATTEMPTS = 25;

const label = (direction: string, connections: number): string =>
  connections === 1 ? direction : `${direction} × ${connections}`;

/** A second measurement of throughput, by a program from outside this repository. It counts bytes but does not compare them. */
export const iperf: Scenario = {
  name: 'iperf3',
  title: () => `iperf3, ${SECONDS} s each way on 1 connection and on 8 together; what arrived is counted, not compared`,
  family: 'tunnel',
  target: 'iperf-main.ts',
  missing: () => (findProgram('iperf3') === undefined ? "iperf3 not found: install Debian's iperf3" : undefined),
  metrics: () =>
    CONNECTIONS.flatMap((connections) =>
      DIRECTIONS.map((direction) => ({
        name: label(direction, connections),
        unit: 'MB/s',
        better: 'higher' as const,
      })),
    ),
  workUnit: 'GB',
  applies: () => true,
  warmUp: async ({ entry }) => {
    for (const direction of DIRECTIONS) await transfer(entry, direction, 1, WARM_UP_SECONDS);
  },
  async measure({ entry }): Promise<Measurement> {
    const values: Record<string, number> = {};
    let work = 0;
    for (const connections of CONNECTIONS) {
      for (const direction of DIRECTIONS) {
        const moved = await transfer(entry, direction, connections, SECONDS);
        values[label(direction, connections)] = moved.bytes / MB / moved.seconds;
        work += moved.bytes / 1e9;
      }
    }
    return { values, work };
  },
};

/** Makes one transfer. @throws Error when iperf3 fails, or nothing arrived */
async function transfer({ host, port }: Address, direction: 'down' | 'up', connections: number, seconds: number) {
  const amount = ['-t', String(seconds), '-P', String(connections)];
  const args = ['-c', host, '-p', String(port), '-J', ...amount, ...(direction === 'down' ? ['-R'] : [])];
  for (let attempt = 1; ; attempt++) {
    try {
      return bytesAndSeconds(await runForOutput({ command: 'iperf3', args }));
    } catch (error) {
      if (!String(error).includes('busy') || attempt === MOST_ATTEMPTS) throw error;
      await sleep(BUSY_MS);
    }
  }
}
