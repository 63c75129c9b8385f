/** Clock ticks per second in the processor times of `/proc/PID/stat`: a constant of Linux's interface to programs, the same on all machines. */
const TICKS_PER_SECOND = 100;

/** The fields of `/proc/PID/stat` that the bench reads. */
export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  /** Seconds of processor time, user and system, of the process and all its threads. */
  readonly ownSeconds: number;
  /** Seconds of processor time of the process's children that have ended and were waited for. */
  readonly reapedSeconds: number;
}

/**
 * Reads `/proc/PID/stat` (proc_pid_stat(5)). The second field, the program's name in parentheses, may hold spaces and parentheses:
 * the fields are counted from the last `)`.
 * @throws Error when the text is not of that form
 */
export function parseStat(text: string): ProcessStat {
  const fields = text
    .slice(text.lastIndexOf(')') + 1)
    .trim()
    .split(/\s+/);
  const pid = Number.parseInt(text, 10);
  // Field 3, the state, is the first after the name.
  const field = (number: number): number => Number(fields[number - 3]);
  const stat = {
    pid,
    parent: field(4),
    ownSeconds: (field(14) + field(15)) / TICKS_PER_SECOND,
    reapedSeconds: (field(16) + field(17)) / TICKS_PER_SECOND,
  };
  if (Object.values(stat).some(Number.isNaN)) throw new Error(`not a line of /proc/PID/stat: ${text.slice(0, 80)}`);
  return stat;
}

/**
 * Seconds of processor time that all programs of the machine have used since it started, from the first line of `/proc/stat`: user,
 * nice, system, and what interrupts took (proc_stat(5)).
 * @throws Error when the text is not of that form
 */
export function parseBusySeconds(text: string): number {
  const [name, ...fields] = (text.split('\n', 1)[0] ?? '').split(/\s+/);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields.map(Number);
  const ticks = user + nice + system + irq + softirq;
  if (name !== 'cpu' || Number.isNaN(ticks)) throw new Error(`not the start of /proc/stat: ${text.slice(0, 80)}`);
  return ticks / TICKS_PER_SECOND;
}

/** Returns the peak resident memory in bytes (`VmHWM`) from `/proc/PID/status`; 0 for a process that is ending and has none left. */
export function parsePeakBytes(status: string): number {
  const match = /^VmHWM:\s*(\d+) kB$/m.exec(status);
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Returns the resident memory in bytes (`VmRSS`) from `/proc/PID/status`; 0 for a process that is ending. */
export function parseResidentBytes(status: string): number {
  const match = /^VmRSS:\s*(\d+) kB$/m.exec(status);
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Returns the processors of `Cpus_allowed_list` in `/proc/PID/status`, such as `0-2,5`. @throws Error when the field is missing */
export function parseAllowedProcessors(status: string): number[] {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(status)?.[1];
  if (list === undefined) throw new Error('no list of processors in /proc/PID/status');
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** Returns the process `root` and all its descendants among `all`. */
export function processTree(root: number, all: readonly ProcessStat[]): ProcessStat[] {
  const tree = all.filter((stat) => stat.pid === root);
  for (const member of tree) tree.push(...all.filter((stat) => stat.parent === member.pid));
  return tree;
}
