import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { rawFrame } from '@culvert/testkit';
import type { StreamTicket } from '../middles/middle.ts';
import type { RunningPeer } from '../peers/peer.ts';
import { Child } from '../processes/child.ts';
import { ALL_CORES, OTHER_CORES, pin } from '../processes/pin.ts';
import { percentile } from '../statistics.ts';
import type { Joined } from '../traffic/pour.ts';
import type { Measurement, Scenario } from './scenario.ts';

const BYTES = 64;
const WARM_UP = 500;
const COUNTED = 2_000;
/** Milliseconds after which the round trips so far must suffice: a middle that lets floods starve other streams would take minutes. */
const WITHIN_MS = 5_000;
const FLOODS = 8;
const PING = rawFrame(2, Buffer.alloc(BYTES, 0x61));
/** The frame as the middle sends it, without a mask: its header has two bytes. */
const ARRIVED = Buffer.concat([Buffer.of(0x82, BYTES), Buffer.alloc(BYTES, 0x61)]);

/** Measures whether one stream that floods the middle starves another. */
export const middleBeside: Scenario = {
  name: 'middle-beside',
  title: () =>
    `${BYTES} bytes there and back through one process${OTHER_CORES === undefined ? '' : ' on a core of its own'}, up to ${COUNTED} times, alone and beside ${FLOODS} streams that flood it`,
  family: 'middle',
  baseline: 'ws-relay',
  metrics: () => [
    ...['alone', `beside ${FLOODS}`].flatMap((name) => [
      { name: `${name}, p50`, unit: 'µs', better: 'lower' as const },
      { name: `${name}, p99`, unit: 'µs', better: 'lower' as const },
    ]),
    { name: 'p99 beside ÷ alone', unit: '', better: 'lower' },
  ],
  workUnit: 'thousand round trips',
  applies: ({ middle }) => middle?.ticket !== undefined,
  warmUp: async (peer) => {
    await measure(peer);
  },
  measure,
};

async function measure({ middle, processes }: RunningPeer): Promise<Measurement> {
  const ticket = middle?.ticket;
  if (middle === undefined || ticket === undefined) throw new Error('only the driver can open streams of this peer');
  for (const { pid } of processes) await pin(pid, '0');
  await pin(process.pid, OTHER_CORES ?? ALL_CORES);
  const joined = await middle.join();
  try {
    const values: Record<string, number> = {};
    const take = async (name: string): Promise<number> => {
      await pingPong(joined, WARM_UP);
      const microseconds = (await pingPong(joined, COUNTED)).map((ms) => ms * 1000);
      values[`${name}, p50`] = percentile(microseconds, 50);
      const p99 = percentile(microseconds, 99);
      values[`${name}, p99`] = p99;
      return p99;
    };
    const alone = await take('alone');
    const tickets = await Promise.all(Array.from({ length: FLOODS }, ticket));
    const beside = await besideFlood(tickets, () => take(`beside ${FLOODS}`));
    values['p99 beside ÷ alone'] = beside / alone;
    return { values, work: (2 * (WARM_UP + COUNTED)) / 1000 };
  } finally {
    joined.from.destroy();
    joined.to.destroy();
    await pin(process.pid, ALL_CORES);
  }
}

/** Runs `act` while a separate process floods streams. @throws Error when one of their bytes was wrong */
async function besideFlood<T>(tickets: readonly StreamTicket[], act: () => Promise<T>): Promise<T> {
  const flood = new Child({
    command: process.execPath,
    args: ['--conditions=development', join(import.meta.dirname, '../traffic/flood-main.ts')],
  }).readOutput();
  try {
    // The flood shares a core with the driver, which must not wait for it.
    setPriority(flood.pid, constants.priority.PRIORITY_LOW);
    flood.process.stdin.end(JSON.stringify(tickets));
    await flood.ready(/flowing/);
    const result = await act();
    if (flood.process.exitCode !== null) throw new Error('the floods ended early');
    return result;
  } finally {
    await flood.stop();
  }
}

/** Returns the milliseconds of each round trip, `count` of them or as many as the time allows: one end answers each frame with an identical frame. */
function pingPong({ from, to }: Joined, count: number): Promise<Float64Array> {
  const times = new Float64Array(count);
  const until = performance.now() + WITHIN_MS;
  return new Promise((resolve, reject) => {
    let round = 0;
    let start = 0;
    const ping = (): void => {
      start = performance.now();
      from.write(PING);
    };
    const settle = (error?: Error): void => {
      to.off('data', onRequest);
      from.off('data', onAnswer).off('close', onClose);
      if (error === undefined) resolve(times.subarray(0, round));
      else reject(error);
    };
    const onClose = (): void => settle(new Error('the stream ended in the middle of a round trip'));
    const onRequest = whole((error) => (error === undefined ? to.write(PING) : settle(error)));
    const onAnswer = whole((error) => {
      if (error !== undefined) return settle(error);
      times[round] = performance.now() - start;
      round += 1;
      if (round === count || performance.now() > until) settle();
      else ping();
    });
    to.on('data', onRequest);
    from.on('data', onAnswer).on('close', onClose);
    ping();
  });
}

/** Returns a listener for 'data' that calls `onFrame` for each complete frame, and with an error for wrong bytes. */
function whole(onFrame: (error?: Error) => void): (chunk: Buffer) => void {
  let received = 0;
  return (chunk) => {
    const expected = ARRIVED.subarray(received, received + chunk.length);
    received += chunk.length;
    if (!chunk.equals(expected)) return onFrame(new Error('wrong bytes arrived'));
    if (received < ARRIVED.length) return;
    received = 0;
    onFrame();
  };
}
