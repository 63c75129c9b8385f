import { describe, expect, it } from 'vitest';
import { UsageError } from '../arguments.ts';
import { AMOUNTS } from './amounts.ts';
import { conformanceArguments } from './arguments.ts';
import { CASES } from './cases/index.ts';

describe('the command line of the conformance kit', () => {
  it('without arguments judges every known tunnel once, in every case', () => {
    const chosen = conformanceArguments([]);
    expect(chosen?.running).toBeUndefined();
    expect(chosen?.peers.map(({ name }) => name)).toEqual(expect.arrayContaining(['plain-tcp', 'ssh-l-r', 'session']));
    expect(chosen?.peers.map(({ name }) => name)).not.toContain('haproxy');
    expect(chosen?.cases).toEqual(CASES);
    expect(chosen?.amounts).toEqual(AMOUNTS);
  });

  it('takes a running tunnel, its processes, cases and times', () => {
    const chosen = conformanceArguments(
      [
        '--listen',
        '[::1]:2222',
        '--target',
        '8022',
        '--pids',
        '12,34',
        '--cases',
        'idle,refused',
        '--idle',
        '5',
      ].concat(['--delay', '2', '--wait', '3', '--offer', '1000', '--output', 'json']),
    );
    expect(chosen?.running).toEqual({ entry: { host: '::1', port: 2222 }, targetPort: 8022, pids: [12, 34] });
    expect(chosen?.cases.map(({ id }) => id)).toEqual(['refused', 'idle']);
    expect(chosen?.amounts).toEqual({
      ...AMOUNTS,
      idleMs: 5_000,
      delayMs: 2_000,
      openMs: 3_000,
      waitMs: 3_000,
      offeredBytes: 1_000,
    });
    expect(chosen?.output).toBe('json');
  });

  it.each([
    [['--listen', '192.0.2.1:80', '--target', '8022'], 'loopback'],
    [['--listen', 'example.com:80', '--target', '8022'], 'loopback'],
    [['--listen', '127.0.0.1', '--target', '8022'], 'HOST:PORT'],
    [['--listen', '127.0.0.1:99999', '--target', '8022'], '65535'],
    [['--listen', '127.0.0.1:80'], 'go together'],
    [['--pids', '1'], 'go together'],
    [['--listen', '127.0.0.1:80', '--target', '8022', '--peers', 'session'], '--peers does not go'],
    [['--peers', 'haproxy'], "no peer 'haproxy'"],
    [['--cases', 'half'], "no case 'half'"],
    [['--idle', '0'], '--idle'],
    [['--output', 'yaml'], '--output'],
    [['--unknown'], 'unknown'],
  ])('refuses %j', (args, message) => {
    expect(() => conformanceArguments(args)).toThrow(UsageError);
    expect(() => conformanceArguments(args)).toThrow(message);
  });

  it('knows when help is asked for', () => {
    expect(conformanceArguments(['--help'])).toBeUndefined();
  });
});
