import { join } from 'node:path';
import type { Devices } from '../peers/peer.ts';
import type { Child, CommandLine } from '../processes/child.ts';

/** Devices per process: their clients' memory and timers stay small enough not to slow down the next device. */
const PER_PROCESS = 2_500;
/** Devices per request, so that progress can be reported. */
const BATCH = 500;
/** Milliseconds for a batch: at 20 devices a second, the rate of a slow machine that does other work too. */
const BATCH_MS = 25_000;

/** A part of the devices, in one process. */
interface Part {
  readonly child: Child;
  asked: number;
}

/**
 * Creates a pool of devices that only hold their control channel, in as many processes as needed.
 * @param start starts a program that ends with the peer
 */
export function devicePool(dataDirectory: string, start: (line: CommandLine) => Child): Devices {
  const parts: Part[] = [];
  let created = 0;
  let attached = 0;
  const partOf = (index: number): Part => {
    const at = Math.floor(index / PER_PROCESS);
    let part = parts[at];
    if (part === undefined) {
      const args = ['--conditions=development', join(import.meta.dirname, 'devices-main.ts'), dataDirectory];
      part = { child: start({ command: process.execPath, args }), asked: 0 };
      parts[at] = part;
    }
    return part;
  };
  const ask = async (part: Part, line: string): Promise<void> => {
    part.asked += 1;
    part.child.process.stdin.write(`${part.asked} ${line}\n`);
    await part.child.ready(new RegExp(`^done ${part.asked}$`, 'm'), BATCH_MS);
  };
  const eachBatch = async (verb: string, from: number, to: number, onBatch: (done: number) => void): Promise<void> => {
    for (const [first, end] of batches(from, to)) {
      await ask(partOf(first), `${verb} ${first} ${end}`);
      onBatch(end);
    }
  };
  return {
    async create(count, progress) {
      await eachBatch('create', created, count, (done) => progress(`${done} of ${count} devices registered`));
      created = Math.max(created, count);
    },
    async attach(count, progress) {
      await eachBatch('attach', attached, count, (done) => progress(`${done} of ${count} devices attached`));
      attached = Math.max(attached, count);
    },
    async detach() {
      for (const part of parts) await ask(part, 'detach');
      attached = 0;
    },
  };
}

/** Splits the devices `from` (included) to `to` (excluded) into batches of at most {@link BATCH}. No batch spans two processes. */
export function batches(from: number, to: number): [from: number, to: number][] {
  const pieces: [number, number][] = [];
  for (let at = from; at < to; ) {
    const end = Math.min(to, at + BATCH, (Math.floor(at / PER_PROCESS) + 1) * PER_PROCESS);
    pieces.push([at, end]);
    at = end;
  }
  return pieces;
}
