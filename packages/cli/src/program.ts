import { packageVersion } from '@culvert/stream/package-version';
import { Command, Option } from 'commander';
import { addAdministration } from './administration.ts';
import {
  AGENT_ENVIRONMENT,
  CONNECT_EXAMPLES,
  HELP,
  HUB_CONFIGURATION,
  QUICKSTART_ENVIRONMENT,
  SSH_ENVIRONMENT,
  SSH_EXAMPLES,
  TRUST_ENVIRONMENT,
} from './help-text.ts';
import { addMonitoring } from './monitoring.ts';
import {
  collect,
  type OnExitCode,
  withConnection,
  withFiles,
  withHalfCloseTimeout,
  withOutput,
  withOwnCertificate,
  withRaw,
  withSessionRetention,
  withTrust,
} from './options.ts';
import { HOST_KEY_MODES } from './ssh/host-key-modes.ts';
import { passSshOptions } from './ssh/ssh-options.ts';
import { addTrust } from './trust-commands.ts';

/**
 * The command line. A command's modules are loaded only when it runs: `culvert connect` starts with every ssh connection and
 * has to start fast.
 */
export function createProgram(onExitCode: OnExitCode): Command {
  const program = new Command('culvert')
    .description('Reach a device that nothing can dial: TCP through a hub, by device id.')
    .version(packageVersion(import.meta.url), '-V, --version')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
    .addHelpText('after', HELP);
  addHub(program);
  addAdministration(program);
  addMonitoring(program, onExitCode);
  addTrust(program);
  addAgent(program);
  addConnect(program, onExitCode);
  addSsh(program, onExitCode);
  addDoctor(program, onExitCode);
  addQuickstart(program);
  refuseUnknownInHelp(program);
  return program;
}

/** Rejects an unknown command before `--help`: commander would show the group's help, and scripts that test for a command would find it. */
function refuseUnknownInHelp(program: Command): void {
  program.addHelpText('beforeAll', ({ command, error }) => {
    const [name] = command.args;
    const isGroup = !error && command.commands.length > 0;
    const isKnown = name === undefined || name.startsWith('-') || name === 'help';
    if (isGroup && !isKnown && !command.commands.some((one) => one.name() === name))
      command.error(`unknown command '${name}'`);
    return '';
  });
}

/** commander's messages, some of which have a second line with a suggestion, as one line in Culvert's form. */
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
    .option('--amqp-listen <host:port>', 'AMQP over TLS too, usually :5671')
    .option(
      '--client-certificates <listener|host>',
      'ask devices for a certificate there: listen, mqttListen, amqpListen, or an advertised host name; repeatable',
      collect,
    )
    .option(
      '--proxy-protocol <listener>',
      'listener behind a load balancer that speaks the PROXY protocol: listen, mqttListen, amqpListen, gatewayListen; repeatable',
      collect,
    )
    .option('--proxy-protocol-from <address[/bits]>', 'where those load balancers are; repeatable', collect)
    .option(
      '--gateway-threads <number>',
      'threads that relay streams, at an address of their own; with --gateway-listen',
    )
    .option('--gateway-listen <host:port>', 'that address: another port or another IP than --listen')
    .option('--gateway-host <host[:port]>', 'name that clients reach it by; default its host, or the hub’s main name')
    .option('--no-gateway-webassembly', 'relay streams without WebAssembly; costs up to twice the processor time')
    .option('--admin-listen <host:port>', 'health checks, plain HTTP (default 127.0.0.1:8444)')
    .option('--tls-cert <file>', 'own certificate chain, PEM; with --tls-key')
    .option('--tls-key <file>', 'its private key, PEM')
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error']))
    .addOption(new Option('--log-format <format>', 'default text in a terminal, else json').choices(['json', 'text']))
    .addHelpText('after', HUB_CONFIGURATION)
    .action(async (flags) => (await import('./commands/hub.ts')).hub(flags));
}

function addAgent(program: Command): void {
  const agent = program
    .command('agent')
    .description('device-local proxy: offer local TCP services of this device')
    .option('--service <name=host:port>', 'a service to offer; repeatable; NAME=PORT means 127.0.0.1', collect)
    .option('--default-service <name>', 'the service that takes names which are not offered')
    .option(
      '--ssh-host-key <file>',
      'a .pub file of this device’s SSH server to name to the hub; repeatable (default: OpenSSH’s own)',
      collect,
    )
    .option('--no-ssh-host-keys', 'name no SSH host keys to the hub')
    .option(
      '--end-key <file>',
      'this device’s key for end-to-end encryption; made at the first start (default: in $STATE_DIRECTORY, else ~/.local/state/culvert/agent)',
    )
    .option(
      '--authorized-services <file>',
      'fingerprints and authorities of those who may connect, encrypted; read for each link',
    )
    .option('--require-encryption', 'refuse whatever is not encrypted end to end')
    .option('--config <file>', 'the same in YAML');
  const files = withFiles(agent, 'the device’s, or a module’s, connection string', 'device', AGENT_ENVIRONMENT);
  withOwnCertificate(withSessionRetention(withHalfCloseTimeout(files)))
    .addOption(eventOutput())
    .action(async (flags) => (await import('./commands/agent.ts')).agent(flags));
}

function addConnect(program: Command, onExitCode: OnExitCode): void {
  const connect = program
    .command('connect')
    .description('service-local proxy: a device’s services on local ports')
    .argument('[device]', 'the device’s id; write -- before one that begins with -')
    .argument('[service...]', 'SERVICE=[HOST:]PORT, port 0 for a free one; with --stdio just SERVICE')
    .option('--module <id>', 'of a module of the device instead')
    .option('--stdio', 'one service over standard input and output, for ssh’s ProxyCommand')
    .addOption(new Option('--ssh-host <host>', 'as ssh-config writes it').hideHelp())
    .addOption(hostKeys().hideHelp())
    .addOption(new Option('--known-hosts <file>', 'as ssh-config writes it').hideHelp())
    .addOption(eventOutput())
    .addHelpText('after', CONNECT_EXAMPLES);
  withStreams(withHalfCloseTimeout(connect), TRUST_ENVIRONMENT).action(
    async (device: string | undefined, services: string[], flags) =>
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
    .option('--module <id>', 'to a module of the device instead')
    .addOption(hostKeys())
    .addHelpText('after', SSH_EXAMPLES)
    .passThroughOptions();
  const before = passSshOptions(ssh);
  withStreams(ssh, SSH_ENVIRONMENT).action(async (destination: string, after: string[], flags) =>
    onExitCode(await (await import('./commands/ssh.ts')).ssh(destination, { before, after }, flags)),
  );
  withStreams(
    program.command('ssh-config').description('print the block that makes `ssh DEVICE.culvert` work, from anywhere'),
    SSH_ENVIRONMENT,
  )
    .addOption(hostKeys())
    .action(async (flags) => (await import('./commands/ssh-config.ts')).sshConfig(flags));
}

function addDoctor(program: Command, onExitCode: OnExitCode): void {
  const doctor = program
    .command('doctor')
    .description('what is wrong between here and a device: name, port, TLS, clock, credential, a real stream')
    .argument('[device]', 'from the service’s side: open a stream to this device’s echo and measure it')
    .option('--service <name>', 'try this one by connecting to it, not all that the agent offers; repeatable', collect)
    .option('--echo <name>', 'the stream name of an echo service (default: the agent’s own)')
    .option('--throughput', 'measure it too: moves 8 MiB each way, else some 20 KiB')
    .option('--module <id>', 'the module of the device')
    .option('--attach', 'from the device’s side: attach for a moment; puts a running agent off the hub for up to 30 s');
  withTrust(withOwnCertificate(withOutput(doctor, 'either', TRUST_ENVIRONMENT))).action(
    async (device: string | undefined, flags) =>
      onExitCode(await (await import('./commands/doctor.ts')).doctor(device, flags)),
  );
}

/** The options of a command that opens streams of a user to a device: how it reaches the hub, what the streams are, and how it recognises the device. */
function withStreams(command: Command, environment: string): Command {
  return withTrust(withConnection(withSessionRetention(withRaw(command)), 'service', environment));
}

function addQuickstart(program: Command): void {
  program
    .command('quickstart')
    .description('a hub, a device and both local proxies on this machine, to try things out')
    .option('--listen <host:port>', 'the hub’s port (default 127.0.0.1:8443, or a free one where that is taken)')
    .option('--data-dir <dir>', 'kept between starts (default: one of its own beside the hub’s, culvert-quickstart)')
    .addHelpText('after', QUICKSTART_ENVIRONMENT)
    .action(async (flags) => (await import('./commands/quickstart.ts')).quickstart(flags));
}

function hostKeys(): Option {
  const what =
    'at the first contact: ask, as ssh does; hub: take those registered with the hub, whose operator you trust then; accept-new: take any (default: ask)';
  return new Option('--host-keys <mode>', what).choices(HOST_KEY_MODES);
}

function eventOutput(): Option {
  return new Option('--output <format>', 'how events are told: lines on stderr, or JSON lines on stdout')
    .choices(['text', 'json'])
    .default('text');
}
