import { describe, expect, it } from 'vitest';
import {
  parseAllowedProcessors,
  parseBusySeconds,
  parsePeakBytes,
  parseResidentBytes,
  parseStat,
  processTree,
} from './proc-format.ts';

const line = (pid: number, name: string, parent: number): string =>
  `${pid} (${name}) S ${parent} 42 42 0 -1 4194304 99 0 0 0 150 25 300 7 20 0 1 0 230149 3133440 396 0 0`;

describe('/proc/PID/stat', () => {
  it('gives the parent and the processor time of the process and of its reaped children', () => {
    const { pid, parent, ownSeconds, reapedSeconds } = parseStat(`${line(42, 'node', 7)}\n`);
    expect({ pid, parent }).toEqual({ pid: 42, parent: 7 });
    expect(ownSeconds).toBeCloseTo(1.75);
    expect(reapedSeconds).toBeCloseTo(3.07);
  });

  it('may name a program with spaces and parentheses', () => {
    expect(parseStat(line(42, 'a) R 9 (b', 7))).toEqual(parseStat(line(42, 'node', 7)));
  });

  it('of another form is an error', () => {
    expect(() => parseStat('42 (cut off')).toThrow('/proc/PID/stat');
    expect(() => parseStat('')).toThrow('/proc/PID/stat');
  });
});

describe('/proc/PID/status', () => {
  it('gives the peak of resident memory', () => {
    expect(parsePeakBytes('Name:\tnode\nVmPeak:\t  900 kB\nVmHWM:\t    1964 kB\nVmRSS:\t 10 kB\n')).toBe(1964 * 1024);
  });

  it('of a process that is ending has none', () => {
    expect(parsePeakBytes('Name:\tnode\nState:\tZ (zombie)\n')).toBe(0);
  });
});

describe('/proc/stat', () => {
  it('gives what all programs used, without idle and waiting', () => {
    expect(parseBusySeconds('cpu  1000 50 400 90000 777 6 44 12 0 0\ncpu0 1 2 3\n')).toBeCloseTo(15);
  });

  it('of another form is an error', () => {
    expect(() => parseBusySeconds('intr 1 2 3')).toThrow('/proc/stat');
  });
});

describe('the tree of a process', () => {
  const all = [line(1, 'init', 0), line(5, 'sshd', 1), line(6, 'other', 1), line(7, 'sshd', 5), line(8, 'sh', 7)].map(
    parseStat,
  );

  it('holds all that it started, and nothing else', () => {
    expect(processTree(5, all).map(({ pid }) => pid)).toEqual([5, 7, 8]);
  });

  it('is empty once the process has ended', () => {
    expect(processTree(99, all)).toEqual([]);
  });
});

it('reads the resident memory of /proc/PID/status', () => {
  expect(parseResidentBytes('VmHWM:\t  9000 kB\nVmRSS:\t  1234 kB\n')).toBe(1234 * 1024);
  expect(parseResidentBytes('Name:\tzombie\n')).toBe(0);
});

it('reads which processors a process may use', () => {
  expect(parseAllowedProcessors('Cpus_allowed:\t7\nCpus_allowed_list:\t0-2,5\n')).toEqual([0, 1, 2, 5]);
  expect(parseAllowedProcessors('Cpus_allowed_list:\t3\n')).toEqual([3]);
  expect(() => parseAllowedProcessors('Name:\tnode\n')).toThrow('processors');
});
