import { describe, expect, it } from 'vitest';
import { benchArguments, UsageError } from './arguments.ts';

const names = (all: readonly { name: string }[] | undefined): string[] | undefined => all?.map(({ name }) => name);

describe('the command line', () => {
  it('without anything means everything', () => {
    const chosen = benchArguments([]);
    expect(names(chosen?.scenarios)).toEqual([
      'gateway-64-B',
      'gateway-1-KiB',
      'gateway-16-KiB',
      'gateway-64-KiB',
      'threads',
      'throughput',
      'round-trip',
      'beside',
      'open',
      'web',
      'streams',
      'devices',
      'long-link',
      'start',
    ]);
    expect(names(chosen?.peers)).toEqual([
      'plain-tcp',
      'ssh-l-r',
      'ssh-l-r-aes',
      'dev-tunnels-ssh',
      'rathole',
      'chisel',
      'frp',
      'wstunnel',
      'piko',
      'culvert',
      'haproxy',
      'nginx',
      'ws-relay',
      'culvert-gateway',
      'no-threads',
      '1-thread',
      '2-threads-same',
      '2-threads-divided',
    ]);
    expect(chosen).toMatchObject({ baseline: 'ssh-l-r', rounds: 5, output: 'table' });
  });

  it('chooses, and keeps the order of the tables', () => {
    const chosen = benchArguments([
      'open',
      'throughput',
      '--peers',
      'culvert,plain-tcp',
      '--rounds=2',
      '--bytes',
      '1000',
    ]);
    expect(names(chosen?.scenarios)).toEqual(['throughput', 'open']);
    expect(names(chosen?.peers)).toEqual(['plain-tcp', 'culvert']);
    expect(chosen).toMatchObject({ rounds: 2, bytes: 1000 });
  });

  it('takes `gateway` for frames of every size', () => {
    expect(benchArguments(['gateway', 'open'])?.scenarios.length).toBe(5);
  });

  it.each([
    ['an unknown scenario', ['nonsense'], "no scenario 'nonsense'"],
    ['an unknown peer', ['--peers', 'culvert,x'], "no peer 'x'"],
    ['an unknown baseline', ['--baseline', 'x'], "no peer 'x'"],
    ['no rounds', ['--rounds', '0'], '--rounds'],
    ['bytes that are no number', ['--bytes', '1G'], '--bytes'],
    ['an unknown form', ['--output', 'xml'], '--output'],
    ['an unknown option', ['--speed'], '--speed'],
  ])('refuses %s', (_name, args, message) => {
    expect(() => benchArguments(args)).toThrow(UsageError);
    expect(() => benchArguments(args)).toThrow(message);
  });

  it('may ask for help', () => {
    expect(benchArguments(['--help'])).toBeUndefined();
  });
});
