import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import type { Machine } from './result/result.ts';

/** The machine that this runs on, as it is now. */
export function thisMachine(): Machine {
  return {
    platform: `${type()} ${release().split('.').slice(0, 2).join('.')}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    load: loadavg()[0] ?? 0,
    node: process.versions.node,
  };
}
