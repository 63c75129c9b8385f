import type { Launches } from '../peers/peer.ts';
import { Child } from '../processes/child.ts';
import { percentile } from '../statistics.ts';
import { Connection } from '../traffic/connection.ts';
import { longLink } from '../traffic/link.ts';
import type { Measurement, Scenario } from './scenario.ts';

const BYTES = 16;
/** Connections after the first one of each program. */
const FURTHER = 20;

/**
 * Measures the first connection through a local proxy that was just started, which has to make whatever is shared by the later ones, and those later ones.
 * @param starts programs started in a round
 * @param roundTripMs of the links between the peer's programs in all; 0 for none
 */
export function firstByteScenario(name: string, starts: number, roundTripMs: number): Scenario {
  const links = roundTripMs === 0 ? '' : `, over links of ${roundTripMs} ms there and back in all`;
  return {
    name,
    title: () =>
      `from connecting to the first byte back, ${starts} times: the first connection through a program of the service's end that was just started, and ${FURTHER} further ones${links}`,
    family: 'tunnel',
    baseline: 'culvert-raw',
    ...(roundTripMs === 0 ? {} : { link: () => longLink(roundTripMs) }),
    metrics: () => [
      { name: 'first, p50', unit: 'ms', better: 'lower' },
      { name: 'first, largest', unit: 'ms', better: 'lower' },
      { name: 'further, p50', unit: 'ms', better: 'lower' },
      { name: 'further, p99', unit: 'ms', better: 'lower' },
    ],
    workUnit: 'connection',
    applies: ({ launches }) => launches !== undefined,
    warmUp: async ({ launches }) => {
      if (launches !== undefined) await measure(launches, 1);
    },
    measure: async ({ launches }) => (launches === undefined ? { values: {}, work: 0 } : measure(launches, starts)),
  };
}

async function measure({ listen }: Launches, starts: number): Promise<Measurement> {
  const first: number[] = [];
  const further: number[] = [];
  for (let start = 0; start < starts; start++) {
    const child = new Child(listen).readOutput();
    try {
      const [, printed] = await child.ready(listen.listening);
      const entry = { host: '127.0.0.1', port: listen.port ?? Number(printed) };
      first.push(await firstByte(entry));
      for (let count = 0; count < FURTHER; count++) further.push(await firstByte(entry));
    } finally {
      await child.stop();
    }
  }
  return {
    values: {
      'first, p50': percentile(first, 50),
      'first, largest': Math.max(...first),
      'further, p50': percentile(further, 50),
      'further, p99': percentile(further, 99),
    },
    work: first.length + further.length,
  };
}

/** Returns the milliseconds from connecting to the first byte back. */
async function firstByte(entry: { host: string; port: number }): Promise<number> {
  const from = performance.now();
  const connection = new Connection(entry);
  try {
    await connection.pingPong(BYTES, 1);
    return performance.now() - from;
  } finally {
    await connection.close();
  }
}
