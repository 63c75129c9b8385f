import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHubConfig, resolveHubConfig } from '@culvert/hub';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { culvert } from './culvert.fixture.ts';
import { createProgram } from './program.ts';

const help = (name?: string): string => {
  const program = createProgram(() => undefined);
  const command = name === undefined ? program : program.commands.find((one) => one.name() === name);
  return helpOf(command);
};

const helpOf = (command: Command | undefined): string => {
  let text = '';
  command?.configureOutput({ writeOut: (part) => (text += part) });
  command?.outputHelp();
  return text;
};

/** The commands without subcommands. */
const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
const namesOf = (command: Command): string[] => [command.name(), ...command.aliases()];

describe('the command line', () => {
  it('tells of every command, with examples and exit codes', () => {
    const text = help();
    for (const name of [
      'hub',
      'policy',
      'device',
      'module',
      'ca',
      'devicestream',
      'streams',
      'limits',
      'logs',
      'agent',
      'connect',
      'ssh',
      'ssh-config',
      'quickstart',
    ]) {
      expect(text).toContain(`\n  ${name} `);
    }
    expect(text).toContain('Examples:');
    expect(text).toContain('69 unreachable, 78 bad configuration');
  });

  it('tells of the environment where a hub is named, and hides what only ssh uses', () => {
    for (const name of ['connect', 'ssh']) expect(help(name)).toContain('CULVERT_CONNECTION_STRING_FILE');
    expect(help('agent')).toContain('CULVERT_DEVICE_CONNECTION_STRING_FILE');
    expect(help('connect')).toContain('culvert connect press-7 ssh --stdio');
    expect(help('connect')).not.toContain('--ssh-host');
  });

  it('ends the help of every command with the environment variables that it reads, and no others', () => {
    const device = ['CULVERT_DEVICE_CONNECTION_STRING', 'CULVERT_DEVICE_CERT_FILE'];
    const service = ['CULVERT_CONNECTION_STRING'];
    for (const command of leaves(createProgram(() => undefined))) {
      const [name = ''] = namesOf(command);
      const variables = helpOf(command).split(/environment variables:/i)[1] ?? '';
      const told = (names: readonly string[]) => names.every((one) => variables.includes(one));
      expect({ name, ends: variables.trimEnd().split('\n').at(-1) }).toMatchObject({
        ends: expect.stringContaining('CULVERT_DEBUG'),
      });
      const isTrust = command.parent?.name() === 'trust';
      const local = ['hub', 'quickstart', 'verify'].includes(name) || (isTrust && name === 'list');
      expect({ name, service: told(service) }).toEqual({ name, service: !local && name !== 'agent' });
      expect({ name, device: told(device) }).toEqual({ name, device: name === 'agent' || name === 'doctor' });
      expect({ name, state: told(['XDG_STATE_HOME']) }).toEqual({
        name,
        state: isTrust || /^ssh/.test(name) || ['connect', 'agent', 'doctor'].includes(name),
      });
      // They name a hub, and do not connect to it.
      if (isTrust) expect(helpOf(command)).not.toMatch(/--proxy|--ca-file|HTTPS_PROXY/);
    }
  });

  it('refuses a command that there is not in every group, also when only its help is asked for', async () => {
    const groups = createProgram(() => undefined).commands.filter(({ commands }) => commands.length > 0);
    expect(groups.map((group) => group.name())).toEqual(expect.arrayContaining(['ca', 'device', 'policy', 'audit']));
    for (const name of [...groups.map((group) => group.name()), '']) {
      for (const rest of [['NONSENSE'], ['NONSENSE', '--help']]) {
        let text = '';
        const program = createProgram(() => undefined);
        for (const one of [program, ...program.commands])
          one.configureOutput({ writeErr: (part) => (text += part), writeOut: (part) => (text += part) });
        const typed = [...(name === '' ? [] : [name]), ...rest];
        await expect(program.parseAsync(typed, { from: 'user' })).rejects.toMatchObject({ exitCode: 1 });
        expect(text).toMatch(/unknown command 'NONSENSE'/);
      }
    }
  });

  it('tells of everything a hub can be configured by, with its defaults', () => {
    const text = help('hub');
    const source = readFileSync(new URL('../../hub/src/config/config.ts', import.meta.url), 'utf8');
    const variables = new Set(source.match(/CULVERT_[A-Z_]+/g));
    for (const variable of variables) expect(text).toContain(variable);
    const file = join(mkdtempSync(join(tmpdir(), 'culvert-cli-')), 'hub.yaml');
    writeFileSync(file, text.slice(text.indexOf('  listen: ":8443"'), text.indexOf('Flags come first')));
    const told = resolveHubConfig({ config: file }, {}, '/d');
    // Keys without a default are shown with an example value.
    const { tls, advertise, mqttListen, amqpListen, clientCertificates, tracing } = told;
    const { gatewayThreads, gatewayListen, gatewayHost } = told;
    const { proxyProtocol, proxyProtocolFrom } = told;
    const gateway = { gatewayThreads, gatewayListen, gatewayHost, proxyProtocol, proxyProtocolFrom };
    const examples = { tls, advertise, mqttListen, amqpListen, clientCertificates, ...gateway, tracing };
    const { checkpoints } = told.audit;
    const defaults = parseHubConfig({ dataDir: '/var/lib/culvert' });
    const audit = { ...defaults.audit, checkpoints };
    expect(told).toEqual({ ...defaults, log: told.log, audit, ...examples });
    expect(Object.values({ ...examples, ...checkpoints })).not.toContain(undefined);
  });

  it.each([
    [['--version'], 0, /^\d+\.\d+\.\d+\n$/, /^$/],
    [['nonsense'], 2, /^$/, /^culvert: unknown command 'nonsense'\n$/],
    [['device', 'lst'], 2, /^$/, /^culvert: unknown command 'lst' \(Did you mean list\?\)\n$/],
    [['agent', '--nope'], 2, /^$/, /^culvert: unknown option '--nope'\n$/],
    [['device', 'list', '--output', 'xml'], 2, /^$/, /^culvert: .*Allowed choices are json, table\.\n$/],
    [['agent'], 2, /^$/, /^culvert: nothing to offer: give --service .*\n$/],
    [['agent', '--service', 'ssh=22'], 2, /^$/, /^culvert: the device's connection string is missing.*\n$/],
    [['module', 'create', 'd'], 2, /^$/, /^culvert: missing required argument 'module'\n$/],
    [['ca', 'add', 'plant-7'], 2, /^$/, /^culvert: required option '--file <file>' not specified\n$/],
    [
      ['device', 'create', 'd', '--auth', 'x509'],
      2,
      /^$/,
      /^culvert: .*Allowed choices are sas, self-signed, ca, none\.\n$/,
    ],
    [['device', 'update', 'd'], 2, /^$/, /^culvert: nothing to change: give --status, .*--auth\n$/],
    [['device', 'update', 'd', '--rotate-key', '--auth', 'sas'], 2, /^$/, /^culvert: --rotate-key keeps the .*\n$/],
    [['module', 'update', 'd', 'm'], 2, /^$/, /^culvert: nothing to change: give --managed-by, .*\n$/],
    [
      ['agent', '--service', 'ssh=22', '--connection-string', 'HostName=h;DeviceId=d;x509=true'],
      2,
      /^$/,
      /\nculvert: the connection string says x509=true: give --cert-file and --key-file\n$/,
    ],
    [['agent', '--service', 'ssh'], 2, /^$/, /^culvert: 'ssh' is not NAME=.*\n$/],
    [
      ['agent', '--config', '/nonexistent.yaml'],
      78,
      /^$/,
      /^culvert: cannot read \/nonexistent\.yaml: there is no such file\n$/,
    ],
    [
      ['connect', 'd', 'ssh', '--stdio', '--data-dir', '/nonexistent'],
      78,
      /^$/,
      /^culvert: there is no hub's data in .*\n$/,
    ],
    [['ssh', '--data-dir', '/nonexistent', 'd'], 78, /^$/, /^culvert: there is no hub's data in .*\n$/],
  ])('ends %j with %i', async (args, code, stdout, stderr) => {
    const ended = await culvert(args);
    expect(ended).toEqual({ code, stdout: expect.stringMatching(stdout), stderr: expect.stringMatching(stderr) });
  });

  it('shows where an error comes from only when asked', async () => {
    const { stderr } = await culvert(['agent'], { CULVERT_DEBUG: '1' });
    expect(stderr).toMatch(/^culvert: nothing to offer.*\nCulvertError: nothing to offer/);
  });
});
