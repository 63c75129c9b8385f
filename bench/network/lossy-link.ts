import { join } from 'node:path';
import { Child, run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Link } from '../traffic/link.ts';
import { allowLoopbackOn, IP } from './namespace.ts';

/** MTU in bytes, as on Ethernet: with the loopback device's 64 KiB, one lost packet would equal about forty. */
const MTU = '1500';
/** First number for routing tables and for the devices of links. */
const FIRST = 100;

/** Links created so far in this process, which does not share its namespace. */
let made = 0;

/** The delay and loss of packets on the path from end to end and back. */
export interface Path {
  readonly roundTripMs: number;
  /** Percentage of packets lost, in each direction. */
  readonly lossPercent: number;
}

/** A link that delays and drops real packets. It works only in a namespace prepared by {@link prepareNamespace}. */
export function lossyLink(path: Path): Link {
  const children: Child[] = [];
  let asked = 0;
  return {
    async through(port, legs) {
      const number = FIRST + made++;
      const device = `culvert${number}`;
      const { delayMs, lossPercent } = ofOneLeg(path, legs);
      const script = join(import.meta.dirname, 'lossy-link.py');
      const child = new Child({
        command: findProgram('python3') ?? 'python3',
        args: [script, device, String(delayMs), String(lossPercent), String(number)],
      }).readOutput();
      children.push(child);
      await child.ready(/attached/);
      allowLoopbackOn(device);
      const ip = (line: string): Promise<string> => run({ command: IP, args: line.split(' ') });
      await ip(`link set ${device} up mtu ${MTU}`);
      await ip(`route add 127.0.0.0/8 dev ${device} src 127.0.0.1 table ${number}`);
      for (const side of ['dport', 'sport']) {
        await ip(`rule add pref ${number} iif lo ipproto tcp ${side} ${port} lookup ${number}`);
      }
      return port;
    },
    onDevice: (line) => line,
    async counts() {
      asked += 1;
      const counts = { passed: 0, dropped: 0 };
      for (const child of children) {
        child.process.stdin.write('\n');
        const [, passed, dropped] = await child.ready(new RegExp(`^counts ${asked} (\\d+) (\\d+)$`, 'm'));
        counts.passed += Number(passed);
        counts.dropped += Number(dropped);
      }
      return counts;
    },
    async stop() {
      for (const child of children) await child.stop();
    },
  };
}

/** Returns the delay and loss of one of the `legs` that make up a path: all legs together delay and lose as much as the path. */
export function ofOneLeg({ roundTripMs, lossPercent }: Path, legs: number): { delayMs: number; lossPercent: number } {
  return { delayMs: roundTripMs / 2 / legs, lossPercent: (1 - (1 - lossPercent / 100) ** (1 / legs)) * 100 };
}
