import type { Launches } from '../peers/peer.ts';
import { Child, type CommandLine, run } from '../processes/child.ts';
import { median } from '../statistics.ts';
import { encodeRequest } from '../traffic/request.ts';
import type { Scenario } from './scenario.ts';

/** Starts of each program in a round; the round's value is their median. */
const STARTS = 5;

export const start: Scenario = {
  name: 'start',
  title: () =>
    `from starting a program of the service's end to what a user waits for, median of ${STARTS} starts a round`,
  family: 'tunnel',
  metrics: () => [
    { name: 'floor', unit: 'ms', better: 'lower' },
    { name: 'version', unit: 'ms', better: 'lower' },
    { name: 'listening', unit: 'ms', better: 'lower' },
    { name: 'stdio, first byte', unit: 'ms', better: 'lower' },
  ],
  workUnit: 'start',
  applies: (peer) => peer.launches !== undefined,
  warmUp: async (peer) => {
    if (peer.launches !== undefined) await startAll(peer.launches, 1);
  },
  measure: async (peer) => ({
    values: peer.launches === undefined ? {} : await startAll(peer.launches, STARTS),
    work: STARTS,
  }),
};

async function startAll(launches: Launches, times: number): Promise<Record<string, number>> {
  const { floor } = launches;
  const values: Record<string, number> = {};
  if (floor !== undefined) values['floor'] = await medianTime(times, () => timeToEnd(floor));
  values['version'] = await medianTime(times, () => timeToEnd(launches.version));
  values['listening'] = await medianTime(times, () => timeToListening(launches.listen));
  values['stdio, first byte'] = await medianTime(times, () => timeToFirstByte(launches.stdio));
  return values;
}

async function medianTime(times: number, measure: () => Promise<number>): Promise<number> {
  const values: number[] = [];
  for (let time = 0; time < times; time++) values.push(await measure());
  return median(values);
}

async function timeToEnd(line: CommandLine): Promise<number> {
  const from = performance.now();
  await run(line);
  return performance.now() - from;
}

async function timeToListening(line: Launches['listen']): Promise<number> {
  const from = performance.now();
  const child = new Child(line).readOutput();
  try {
    await child.ready(line.listening);
    return performance.now() - from;
  } finally {
    await child.stop();
  }
}

/** Returns the time from the program's start to the target's first byte, an echo of a byte that is sent at once. */
async function timeToFirstByte(line: CommandLine): Promise<number> {
  const from = performance.now();
  const child = new Child(line);
  try {
    child.process.stdin.write(Buffer.concat([encodeRequest('E', 1), Buffer.of(0x42)]));
    const answer = await child.firstOutput();
    const elapsed = performance.now() - from;
    if (answer.length !== 1 || answer[0] !== 0x42) throw new Error('the first byte through standard input is wrong');
    return elapsed;
  } finally {
    await child.stop();
  }
}
