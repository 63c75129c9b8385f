import { availableParallelism } from 'node:os';
import { run } from './child.ts';
import { findProgram } from './programs.ts';

const CORES = availableParallelism();

/** What stands for all cores but the first, for `taskset`; undefined where there is but one, or no `taskset`. */
export const OTHER_CORES = CORES > 1 && findProgram('taskset') !== undefined ? `1-${CORES - 1}` : undefined;

/** Every core. */
export const ALL_CORES = `0-${CORES - 1}`;

/** Has every thread of a process run on these cores only; does nothing where {@link OTHER_CORES} is undefined. */
export async function pin(pid: number, cores: string): Promise<void> {
  if (OTHER_CORES !== undefined) await run({ command: 'taskset', args: ['-a', '-c', '-p', cores, String(pid)] });
}
