import { readdirSync, readFileSync } from 'node:fs';

/** The environment variable that identifies a test worker and the processes that inherit its environment. The value begins with the id of the run. */
export const WORKER_VARIABLE = 'TEST_WORKER';

/** A process that was found in /proc. */
export interface FoundProcess {
  readonly pid: number;
  /** The command line, shortened. */
  readonly command: string;
}

/** Maximum characters of a command line that are reported. */
const MAX_COMMAND_CHARACTERS = 200;

/**
 * Returns the running processes whose {@link WORKER_VARIABLE} begins with `prefix`. Processes of other users and processes with a cleared
 * environment are not found. On a system without /proc (macOS) none are found.
 */
export function processesOf(prefix: string): FoundProcess[] {
  return processIds().flatMap((pid) => {
    try {
      const marked = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!marked.some((line) => line.startsWith(`${WORKER_VARIABLE}=${prefix}`))) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        .replaceAll(/[\0\s]+/g, ' ')
        .trim();
      return [{ pid, command: command.slice(0, MAX_COMMAND_CHARACTERS) }];
    } catch {
      // The process is gone, or belongs to another user.
      return [];
    }
  });
}

/** Kills the processes that {@link processesOf} finds, except this one, and returns them. */
export function killProcessesOf(prefix: string): FoundProcess[] {
  const found = processesOf(prefix).filter(({ pid }) => pid !== process.pid);
  for (const { pid } of found) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // The process has already ended.
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
