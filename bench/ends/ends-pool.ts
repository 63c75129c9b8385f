import { join } from 'node:path';
import type { Ends, Opened } from '../peers/peer.ts';
import type { Child, CommandLine } from '../processes/child.ts';

/** Milliseconds within which each request must be answered. */
const ANSWER_MS = 120_000;

interface End {
  readonly child: Child;
  asked: number;
}

/**
 * Creates pairs of a device and a service that connect to a hub with the SDKs. Each pair runs in a separate process, started when it is first needed.
 * @param start starts a program that ends with the peer
 */
export function endsPool(dataDirectory: string, start: (line: CommandLine) => Child): Ends {
  const ends: End[] = [];
  const ask = async (end: End, line: string): Promise<unknown> => {
    end.asked += 1;
    end.child.process.stdin.write(`${end.asked} ${line}\n`);
    const answer = new RegExp(`^(done|failed) ${end.asked} (.*)$`, 'm');
    const [, verdict, text = ''] = await end.child.ready(answer, ANSWER_MS);
    if (verdict === 'failed') throw new Error(text);
    return JSON.parse(text);
  };
  return {
    async ready(processes) {
      while (ends.length < processes) {
        const main = join(import.meta.dirname, 'ends-main.ts');
        const args = ['--conditions=development', main, dataDirectory, `end-${ends.length}`];
        const child = start({ command: process.execPath, args });
        ends.push({ child, asked: 0 });
        await child.ready(/^attached$/m);
      }
      return ends.map(({ child }) => child.pid);
    },
    async open(count, atOnce) {
      const busy = ends.slice(0, atOnce);
      const share = (whole: number): number => Math.ceil(whole / busy.length);
      const from = performance.now();
      const all = (await Promise.all(
        busy.map((end) => ask(end, `open ${share(count)} ${share(atOnce)}`)),
      )) as Latencies[];
      return {
        count: share(count) * busy.length,
        seconds: (performance.now() - from) / 1000,
        p50: Math.max(...all.map(({ p50 }) => p50)),
        p99: Math.max(...all.map(({ p99 }) => p99)),
        'p99.9': Math.max(...all.map((latencies) => latencies['p99.9'])),
      };
    },
    async pour(bytes) {
      const [end] = ends;
      if (end === undefined) throw new Error('no end is ready');
      await ask(end, `pour ${bytes}`);
    },
  };
}

type Latencies = Omit<Opened, 'count' | 'seconds'>;
