import { readdirSync, readFileSync } from 'node:fs';
import { run } from './child.ts';
import {
  type ProcessStat,
  parseAllowedProcessors,
  parseBusySeconds,
  parsePeakBytes,
  parseResidentBytes,
  parseStat,
  processTree,
} from './proc-format.ts';

/** The resources that a program has used since its start, as the operating system accounts them. */
export interface Usage {
  /** Seconds of processor time, to 10 ms. */
  readonly cpuSeconds: number;
  /** Bytes of peak resident memory; for several processes the sum, in which shared pages count more than once. */
  readonly peakBytes: number;
  /** Bytes of resident memory now, summed in the same way. */
  readonly residentBytes: number;
}

/** Returns the usage of a process and all its descendants. */
export function treeUsage(pid: number): Usage {
  const tree = processTree(pid, allProcesses());
  if (tree.length === 0) throw new Error(`process ${pid} has ended`);
  return {
    cpuSeconds: tree.reduce((sum, stat) => sum + stat.ownSeconds + stat.reapedSeconds, 0),
    peakBytes: tree.reduce((sum, stat) => sum + parsePeakBytes(procFile(stat.pid, 'status') ?? ''), 0),
    residentBytes: tree.reduce((sum, stat) => sum + parseResidentBytes(procFile(stat.pid, 'status') ?? ''), 0),
  };
}

/** Returns the usage of one process alone, for the bench itself, whose children are accounted separately. */
export function ownUsage(pid: number): Omit<Usage, 'residentBytes'> {
  const stat = procFile(pid, 'stat');
  if (stat === undefined) throw new Error(`process ${pid} has ended`);
  return { cpuSeconds: parseStat(stat).ownSeconds, peakBytes: parsePeakBytes(procFile(pid, 'status') ?? '') };
}

/**
 * Starts measuring the processor use of programs other than the bench and its descendants.
 * @returns a function that returns this use so far, in processors: 0.5 is half of one, all the time
 */
export function watchOthers(): () => number {
  const others = (): number => parseBusySeconds(readFileSync('/proc/stat', 'utf8')) - treeUsage(process.pid).cpuSeconds;
  const from = performance.now();
  const before = others();
  return () => Math.max(0, others() - before) / ((performance.now() - from) / 1000);
}

/** Returns the numbers of the processors that this process may use. */
export function allowedProcessors(): number[] {
  return parseAllowedProcessors(procFile(process.pid, 'status') ?? '');
}

/** Restricts a process, its threads and the processes it starts from now on to these processors. */
export async function pin(pid: number, processors: readonly number[]): Promise<void> {
  await run({ command: 'taskset', args: ['-a', '-c', '-p', processors.join(','), String(pid)] });
}

function allProcesses(): ProcessStat[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const text = procFile(Number(name), 'stat');
    return text === undefined ? [] : [parseStat(text)];
  });
}

/** Returns undefined for a process that ended after it was listed: its file is missing or empty. */
function procFile(pid: number, file: 'stat' | 'status'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8') || undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
