import { Agent, get } from 'node:http';
import { percentile } from '../statistics.ts';
import type { Address } from '../traffic/connection.ts';
import { PAGE } from '../traffic/page.ts';
import type { Measurement, Scenario } from './scenario.ts';

const AT_ONCE = [1, 8, 64] as const;
const REQUESTS = 1_000;

export const web: Scenario = {
  name: 'web',
  title: () => `a page of ${PAGE.length} bytes by HTTP over connections that stay open, ${REQUESTS} times at each load`,
  family: 'tunnel',
  target: 'web-main.ts',
  metrics: () =>
    AT_ONCE.flatMap((count) => [
      { name: `${count} at once`, unit: '/s', better: 'higher' as const },
      { name: `${count} at once, p50`, unit: 'ms', better: 'lower' as const },
      { name: `${count} at once, p99`, unit: 'ms', better: 'lower' as const },
      { name: `${count} at once, p99.9`, unit: 'ms', better: 'lower' as const },
    ]),
  workUnit: 'thousand requests',
  applies: () => true,
  warmUp: async ({ entry }) => {
    await measure(entry);
  },
  measure: ({ entry }) => measure(entry),
};

async function measure(entry: Address): Promise<Measurement> {
  const values: Record<string, number> = {};
  for (const count of AT_ONCE) {
    const agent = new Agent({ keepAlive: true, maxSockets: count });
    const times: number[] = [];
    // Opens the connections first: their cost is measured by another scenario.
    await Promise.all(Array.from({ length: count }, () => fetchPage(agent, entry)));
    const from = performance.now();
    const worker = async (): Promise<void> => {
      while (times.length < REQUESTS) times.push(await fetchPage(agent, entry));
    };
    await Promise.all(Array.from({ length: count }, worker));
    values[`${count} at once`] = times.length / ((performance.now() - from) / 1000);
    values[`${count} at once, p50`] = percentile(times, 50);
    values[`${count} at once, p99`] = percentile(times, 99);
    values[`${count} at once, p99.9`] = percentile(times, 99.9);
    agent.destroy();
  }
  return { values, work: (AT_ONCE.length * REQUESTS) / 1000 };
}

/** Returns the milliseconds until the whole page has arrived. @throws Error when the page differs */
function fetchPage(agent: Agent, { host, port }: Address): Promise<number> {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    get({ agent, host, port, path: '/' }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (Buffer.concat(chunks).equals(PAGE)) resolve(performance.now() - from);
        else reject(new Error('the received page differs from the one sent'));
      });
    }).on('error', reject);
  });
}
