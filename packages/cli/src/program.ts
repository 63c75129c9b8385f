import { readFileSync } from 'node:fs';
import { AUDIT_TYPES } from '@culvert/protocol';
import { Command, InvalidArgumentError, Option } from 'commander';
import { CONNECT_EXAMPLES, ENVIRONMENT, HELP, HUB_CONFIGURATION } from './help-text.ts';

/** Tells the exit code of a command that has one of its own. */
export type OnExitCode = (code: number) => void;

/**
 * The command line. Only what a command needs is loaded when it runs: `culvert connect` is in the way of every ssh connection and
 * has to start fast.
 */
export function createProgram(onExitCode: OnExitCode): Command {
  const program = new Command('culvert')
    .description('Reach a device that nothing can dial: TCP through a hub, by device id.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
    .addHelpText('after', HELP);
  addHub(program);
  addPolicy(program);
  addDevice(program);
  addDeviceStream(program);
  addAudit(program, onExitCode);
  addAgent(program);
  addConnect(program, onExitCode);
  addSsh(program, onExitCode);
  addQuickstart(program);
  return program;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}

/** commander's messages, some of which have a second line with a suggestion, in our form. */
function oneLine(text: string): string {
  return `culvert: ${text
    .trim()
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')}\n`;
}

function addHub(program: Command): void {
  program
    .command('hub')
    .description('run a hub, with its gateway, on this machine')
    .option('--config <file>', 'configuration in YAML')
    .option('--data-dir <dir>', 'keys, registry and the hub’s own CA; made on first start')
    .option('--listen <host:port>', 'the one TLS port (default :8443)')
    .option(
      '--advertise <host[:port]>',
      'name that clients reach the hub by; repeatable, the first is the main one',
      collect,
    )
    .option('--mqtt-listen <host:port>', 'MQTT over TLS too, usually :8883')
    .option('--admin-listen <host:port>', 'health checks, plain HTTP (default 127.0.0.1:8444)')
    .option('--tls-cert <file>', 'own certificate chain, PEM; with --tls-key')
    .option('--tls-key <file>', 'its private key, PEM')
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error']))
    .addOption(new Option('--log-format <format>', 'default text in a terminal, else json').choices(['json', 'text']))
    .addHelpText('after', HUB_CONFIGURATION)
    .action(async (flags) => (await import('./commands/hub.ts')).hub(flags));
}

function addPolicy(program: Command): void {
  const policy = program
    .command('policy')
    .description('shared access policies: what a service’s connection string may do');
  withOutput(policy.command('list').description('names and permissions')).action(async (flags) =>
    (await import('./commands/policy.ts')).listPolicies(flags),
  );
  withOutput(policy.command('show <name>').description('with its connection string')).action(
    async (name: string, flags) => (await import('./commands/policy.ts')).showPolicy(name, flags),
  );
  withOutput(
    policy.command('rotate <name>').description('a new primary key; the old one becomes the secondary'),
  ).action(async (name: string, flags) => (await import('./commands/policy.ts')).rotatePolicy(name, flags));
}

function addDevice(program: Command): void {
  const device = program.command('device').description('the devices the hub knows');
  const status = (): Option =>
    new Option('--status <status>', 'a disabled device is let in nowhere').choices(['enabled', 'disabled']);
  const reason = ['--status-reason <text>', 'why, for people'] as const;
  withOutput(device.command('create <id>').description('register a device; shows its connection string'))
    .addOption(status())
    .option(...reason)
    .action(async (id: string, flags) => (await import('./commands/device.ts')).createDevice(id, flags));
  withOutput(device.command('list').description('all devices')).action(async (flags) =>
    (await import('./commands/device.ts')).listDevices(flags),
  );
  withOutput(device.command('show <id>').description('one device; JSON holds its keys and connection string'))
    .option('--keys', 'show the connection string in a table too')
    .action(async (id: string, flags) => (await import('./commands/device.ts')).showDevice(id, flags));
  withOutput(device.command('update <id>').description('change a device'))
    .addOption(status())
    .option(...reason)
    .option('--rotate-key', 'a new primary key; the old one becomes the secondary')
    .action(async (id: string, flags) => (await import('./commands/device.ts')).updateDevice(id, flags));
  withConnection(device.command('delete <id>').description('forget a device; its streams end')).action(
    async (id: string, flags) => (await import('./commands/device.ts')).deleteDevice(id, flags),
  );
}

function addDeviceStream(program: Command): void {
  const devicestream = program.command('devicestream').description('where device streams go');
  withConnection(devicestream.command('show').description('the hub’s host name and streaming endpoints'))
    .addOption(new Option('--output <format>').choices(['json', 'table']).default('json'))
    .action(async (flags) => (await import('./commands/devicestream.ts')).showDeviceStream(flags));
}

function addAudit(program: Command, onExitCode: OnExitCode): void {
  const audit = program.command('audit').description('the record of who reached what, chained and signed');
  withOutput(audit.command('list').description('records, oldest first; JSON is one a line'))
    .option('--device <id>', 'of one device and its modules')
    .option('--since <time>', 'an age such as 15m, 1h or 7d, or a date or time')
    .option('--until <time>', 'the same')
    .addOption(new Option('--type <type>', 'of one type').choices(AUDIT_TYPES))
    .option('--limit <count>', 'at most so many')
    .action(async (flags) => (await import('./commands/audit.ts')).listAudit(flags));
  audit
    .command('verify [path...]')
    .description(
      'look for changed, missing, moved and cut-off records, without a hub (default: the hub’s data directory)',
    )
    .option('--public-key <file>', 'the hub’s audit/public.pem, best from a copy kept elsewhere')
    .option('--checkpoints <file>', 'checkpoints that were sent off the machine; repeatable', collect)
    .option('--from <seq>', 'the first record that is expected, when older files were put away')
    .option('--data-dir <dir>', 'on the hub’s machine: its data directory (default: the hub’s own default)')
    .addOption(new Option('--output <format>').choices(['text', 'json']).default('text'))
    .action(async (paths: string[], flags) =>
      onExitCode(await (await import('./commands/audit-verify.ts')).verifyAuditFiles(paths, flags)),
    );
}

function addAgent(program: Command): void {
  const agent = program
    .command('agent')
    .description('device-local proxy: offer local TCP services of this device')
    .option('--service <name=host:port>', 'a service to offer; repeatable; NAME=PORT means 127.0.0.1', collect)
    .option('--default-service <name>', 'the service that takes names which are not offered')
    .option('--config <file>', 'the same in YAML');
  withFiles(agent, 'the device’s connection string')
    .addOption(eventOutput())
    .action(async (flags) => (await import('./commands/agent.ts')).agent(flags));
}

function addConnect(program: Command, onExitCode: OnExitCode): void {
  const connect = program
    .command('connect')
    .description('service-local proxy: a device’s services on local ports')
    .argument('[device]', 'the device’s id; write -- before one that begins with -')
    .argument('[service...]', 'SERVICE=[HOST:]PORT, port 0 for a free one; with --stdio just SERVICE')
    .option('--stdio', 'one service over standard input and output, for ssh’s ProxyCommand')
    .addOption(new Option('--ssh-host <host>', 'as ssh-config writes it').hideHelp())
    .addOption(eventOutput())
    .addHelpText('after', CONNECT_EXAMPLES);
  withConnection(connect).action(async (device: string | undefined, services: string[], flags) =>
    onExitCode(await (await import('./commands/connect.ts')).connect(device, services, flags)),
  );
}

function addSsh(program: Command, onExitCode: OnExitCode): void {
  const ssh = program
    .command('ssh')
    .description('OpenSSH to a device; needs an agent that offers ssh')
    .argument('<[user@]device>', 'the first @ ends the user; for a device id with @ write @DEVICE or use -l')
    .argument('[ssh-arguments...]', 'passed to ssh as they are')
    .option('-l, --login <user>', 'user on the device')
    .passThroughOptions();
  withConnection(ssh).action(async (destination: string, args: string[], flags) =>
    onExitCode(await (await import('./commands/ssh.ts')).ssh(destination, args, flags)),
  );
  withConnection(
    program.command('ssh-config').description('print the block that makes `ssh DEVICE.culvert` work'),
  ).action(async (flags) => (await import('./commands/ssh-config.ts')).sshConfig(flags));
}

function addQuickstart(program: Command): void {
  program
    .command('quickstart')
    .description('a hub, a device and both local proxies on this machine, to try things out')
    .option('--listen <host:port>', 'the hub’s port', '127.0.0.1:8443')
    .option('--data-dir <dir>', 'kept between starts (default: the user’s data directory)')
    .action(async (flags) => (await import('./commands/quickstart.ts')).quickstart(flags));
}

function withFiles(command: Command, what: string): Command {
  return command
    .option('--connection-string-file <file>', `file with ${what}`)
    .option(
      '--connection-string <string>',
      'the string itself; process lists show it, so prefer a file or the environment',
    )
    .option('--ca-file <file>', 'the hub’s CA, PEM, beside the system’s')
    .option('--proxy <url>', 'outbound proxy: http://host:port or socks5://host:port')
    .addHelpText('after', ENVIRONMENT);
}

function withConnection(command: Command): Command {
  return withFiles(command, 'a service’s connection string').option(
    '--data-dir <dir>',
    'on the hub’s machine: its data directory (default: the hub’s own default)',
  );
}

function withOutput(command: Command): Command {
  return withConnection(command).addOption(new Option('--output <format>').choices(['json', 'table']).default('table'));
}

function eventOutput(): Option {
  return new Option('--output <format>', 'how events are told: lines on stderr, or JSON lines on stdout')
    .choices(['text', 'json'])
    .default('text');
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return [...(previous ?? []), value];
}
