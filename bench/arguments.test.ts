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
      'middle-beside',
      'threads',
      'throughput',
      'iperf3',
      'round-trip',
      'beside',
      'slow-link',
      'open',
      'first-byte',
      'first-byte-long',
      'handshakes',
      'web',
      'wrk',
      'streams',
      'idle',
      'devices',
      'long-link',
      'long-path',
      'lossy-path',
      'start',
      'observe',
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
      'culvert-raw',
      'session',
      'session-e2e',
      'haproxy',
      'nginx',
      'ws-relay',
      'culvert-gateway',
      'hub-unobserved',
      'hub-metrics',
      'hub-audit',
      'hub-all',
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
      'session,plain-tcp',
      '--rounds=2',
      '--bytes',
      '1000',
    ]);
    expect(names(chosen?.scenarios)).toEqual(['throughput', 'open']);
    expect(names(chosen?.peers)).toEqual(['plain-tcp', 'session']);
    expect(chosen).toMatchObject({ rounds: 2, bytes: 1000 });
  });

  it('takes `gateway` for frames of every size', () => {
    expect(benchArguments(['gateway', 'open'])?.scenarios.length).toBe(5);
  });

  it('takes numbers of devices in any order', () => {
    expect(benchArguments(['--devices', '15000,1000'])?.devices).toEqual([1000, 15_000]);
  });

  it('may show an earlier run, in a form for a page', () => {
    const shown = benchArguments(['--from', 'x.json', '--output', 'markdown', '--drawings', 'docs/performance']);
    expect(shown).toMatchObject({ from: 'x.json', output: 'markdown', drawings: 'docs/performance' });
  });

  it.each([
    ['an unknown scenario', ['nonsense'], "no scenario 'nonsense'"],
    ['an unknown peer', ['--peers', 'session,x'], "no peer 'x'"],
    ['an unknown baseline', ['--baseline', 'x'], "no peer 'x'"],
    ['no rounds', ['--rounds', '0'], '--rounds'],
    ['bytes that are no number', ['--bytes', '1G'], '--bytes'],
    ['devices that are no number', ['--devices', '10,x'], '--devices'],
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
