import { availableParallelism } from 'node:os';
import { run } from './child.ts';
import { findProgram } from './programs.ts';

const CORES = availableParallelism();

/** All cores except the first, in the form that `taskset` accepts; undefined on a machine with only one core or without `taskset`. */
export const OTHER_CORES = CORES > 1 && findProgram('taskset') !== undefined ? `1-${CORES - 1}` : undefined;

/** Every core. */
export const ALL_CORES = `0-${CORES - 1}`;

/** Restricts every thread of a process to these cores; does nothing when {@link OTHER_CORES} is undefined. */
export async function pin(pid: number, cores: string): Promise<void> {
  if (OTHER_CORES !== undefined) await run({ command: 'taskset', args: ['-a', '-c', '-p', cores, String(pid)] });
}
