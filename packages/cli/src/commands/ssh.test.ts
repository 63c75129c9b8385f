import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../program.ts';
import { parseDestination } from '../ssh/destination.ts';
import { passSshOptions } from '../ssh/ssh-options.ts';
import { sshArguments } from './ssh.ts';
import { blockCommand, sshConfigBlock } from './ssh-config.ts';

const NO_WORDS = { before: [], after: [] };

describe('culvert ssh', () => {
  it.each([
    ['press-7', undefined, undefined, 'press-7'],
    ['root@press-7', undefined, 'root', 'press-7'],
    ['root@a@b', undefined, 'root', 'a@b'],
    ['@a@b', undefined, undefined, 'a@b'],
    ['a@b', 'root', 'root', 'a@b'],
    ["-x'$(id)", undefined, undefined, "-x'$(id)"],
  ])('reads %s with -l %s', (text, login, user, deviceId) => {
    expect(parseDestination(text, login)).toEqual({ user, deviceId });
  });

  it('refuses what is no device', () => {
    for (const wrong of ['', 'root@', 'root@..', 'a b'])
      expect(() => parseDestination(wrong), wrong).toThrow(/device id/);
  });

  it('runs ssh with host keys of its own, and all further arguments after the host', () => {
    const args = sshArguments(
      'root@-d;1',
      { before: ['-i', 'key'], after: ['-L', '1:localhost:2', 'uname', '-a'] },
      {},
      '/home/a b/known_hosts',
    );
    expect(args.slice(0, 1)).toEqual(['-o']);
    expect(args[1]).toMatch(
      /^ProxyCommand='.+' '.+culvert\.js' 'connect' '--host-keys=ask' '--known-hosts=\/home\/a b\/known_hosts' '--ssh-host=~2dd~3b1\.culvert'$/,
    );
    expect(args.slice(2)).toEqual([
      '-o',
      'HostKeyAlias=~2dd~3b1.culvert',
      '-o',
      'UserKnownHostsFile="/home/a b/known_hosts"',
      '-i',
      'key',
      '-l',
      'root',
      '~2dd~3b1.culvert',
      '-L',
      '1:localhost:2',
      'uname',
      '-a',
    ]);
  });

  it('goes to a module by a name of its own, under which its host key is kept', () => {
    const args = sshArguments('root@press-7', NO_WORDS, { module: 'Cam' }, '/k');
    expect(args[1]).toMatch(/'--ssh-host=press-7~2f~43am\.culvert'$/);
    expect(args.at(-1)).toBe('press-7~2f~43am.culvert');
    expect(args).toContain('HostKeyAlias=press-7~2f~43am.culvert');
    expect(() => sshArguments('d', NO_WORDS, { module: 'a/b' }, '/k')).toThrow(/is not a module id/);
  });

  it('asks about a new host key as ssh does, unless it is told to take any', () => {
    expect(sshArguments('d', NO_WORDS, {}, '/k').join(' ')).not.toContain('StrictHostKeyChecking');
    expect(sshArguments('d', NO_WORDS, { hostKeys: 'hub' }, '/k').join(' ')).not.toContain('StrictHostKeyChecking');
    expect(sshArguments('d', NO_WORDS, { hostKeys: 'accept-new' }, '/k')).toContain('StrictHostKeyChecking=accept-new');
  });

  it("passes ssh's own options that stand before the device, in their order", async () => {
    const program = new Command().exitOverride().enablePositionalOptions();
    const command = program.command('ssh').argument('<device>').argument('[rest...]').option('--module <id>');
    const before = passSshOptions(command.passThroughOptions());
    const seen: unknown[] = [];
    command.action((device, rest, flags) => {
      seen.push(device, rest, flags.module, before);
    });
    const typed = ['-4tt', '-i', 'key', '--module', 'm', '-L8080:h:80', '-o', '-odd', '-N', 'root@d', '-v', 'ls', '-l'];
    await program.parseAsync(['ssh', ...typed], { from: 'user' });
    const own = ['-4', '-t', '-t', '-i', 'key', '-L', '8080:h:80', '-o', '-odd', '-N'];
    expect(seen).toEqual(['root@d', ['-v', 'ls', '-l'], 'm', own]);
  });

  it('never puts a connection string on a command line', () => {
    const args = sshArguments('d', NO_WORDS, { connectionString: 'HostName=h;SharedAccessKey=c2VjcmV0' }, '/k');
    expect(args.join(' ')).not.toContain('c2VjcmV0');
  });
});

describe('the flags of connect', () => {
  const flags = { sessionRetention: 3_600, raw: true, allowUnencrypted: true, fleetAuthority: '/etc/fleet.pem' };
  const passed = "'--session-retention=3600' '--raw' '--allow-unencrypted' '--fleet-authority=/etc/fleet.pem'";

  it('are passed on by ssh to its ProxyCommand', () => {
    expect(sshArguments('d', NO_WORDS, flags, '/k')[1]).toContain(`'connect' ${passed} '--host-keys=ask'`);
    expect(sshArguments('d', NO_WORDS, {}, '/k')[1]).toContain(`'connect' '--host-keys=ask'`);
  });

  it('are written into the block of ssh-config, with the gateways, and files as they last', () => {
    const given = { ...flags, caFile: 'ca.pem', proxy: 'http://u:secret@p:1', gateway: ['*.example.net'] };
    const lasting = { dataDir: '/var/lib/culvert', caFile: '/etc/ca.pem' };
    const command = blockCommand(given, lasting, { mode: 'accept-new', knownHosts: '/k' });
    const files = "'--data-dir=/var/lib/culvert' '--ca-file=/etc/ca.pem' '--gateway=*.example.net'";
    expect(command).toContain(`'connect' ${files} ${passed} '--ssh-host=%n'`);
    expect(command).not.toContain('secret');
  });

  const trust = ['--allow-unencrypted', '--fleet-authority'];
  it.each([
    ['connect', ['--session-retention', '--raw', ...trust]],
    ['ssh', ['--session-retention', '--raw', ...trust]],
    ['ssh-config', ['--session-retention', '--raw', ...trust]],
    ['doctor', trust],
  ])('are known to %s', (name, flagNames) => {
    const command = createProgram(() => undefined).commands.find((candidate) => candidate.name() === name);
    expect(command?.options.map(({ long }) => long)).toEqual(expect.arrayContaining(flagNames));
  });
});

describe('culvert ssh-config', () => {
  it('does not apply to a host that could leave the quotes', () => {
    const block = sshConfigBlock("'culvert' '--ssh-host=%n'", '/k');
    expect(block).toContain(`Host *.culvert "!*'*"\n  ProxyCommand 'culvert' '--ssh-host=%n'\n`);
    expect(block).toContain('UserKnownHostsFile "/k"');
    expect(block).not.toContain('StrictHostKeyChecking');
    expect(sshConfigBlock('c', '/k', 'accept-new')).toContain('  StrictHostKeyChecking accept-new\n');
  });
});
