import { readdirSync, readFileSync } from 'node:fs';

/** The variable by which a test worker, and whatever it starts with its environment, is known. Its value begins with the run's. */
export const WORKER_VARIABLE = 'TEST_WORKER';

/** A process as /proc has it. */
export interface FoundProcess {
  readonly pid: number;
  /** Its command line, shortened. */
  readonly command: string;
}

/** Characters of a command line that are told. */
const TOLD = 200;

/**
 * The living processes whose {@link WORKER_VARIABLE} begins so. Those of other users, and those that have cleared their environment, are not
 * found; where there is no /proc (macOS) none are.
 */
export function processesOf(prefix: string): FoundProcess[] {
  return processIds().flatMap((pid) => {
    try {
      const marked = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!marked.some((line) => line.startsWith(`${WORKER_VARIABLE}=${prefix}`))) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        .replaceAll(/[\0\s]+/g, ' ')
        .trim();
      return [{ pid, command: command.slice(0, TOLD) }];
    } catch {
      // The process is gone, or belongs to another user.
      return [];
    }
  });
}

/** Kills them, and returns who they were. */
export function killProcessesOf(prefix: string): FoundProcess[] {
  const found = processesOf(prefix).filter(({ pid }) => pid !== process.pid);
  for (const { pid } of found) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It was faster.
    }
  }
  return found;
}

function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}
