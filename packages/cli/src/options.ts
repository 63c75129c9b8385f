import { type Command, InvalidArgumentError, Option } from 'commander';
import { environmentOf, HUB_NAME_ENVIRONMENT, type Side } from './help-text.ts';

/** Called with the exit code of a command that sets its own. */
export type OnExitCode = (code: number) => void;

/** Options that set how a command reaches its hub. */
export function withFiles(command: Command, what: string, side: Side, more = ''): Command {
  return withConnectionString(command, what)
    .option('--ca-file <file>', 'the hub’s CA, PEM, beside the system’s')
    .option('--proxy <url>', 'outbound proxy: http://host:port or socks5://host:port')
    .option(
      '--gateway <host>',
      'a gateway beside the hub’s own host and the names in its certificate: HOST or *.DOMAIN, may be given several times',
      collect,
    )
    .addHelpText('after', environmentOf(side, more));
}

function withConnectionString(command: Command, what: string): Command {
  return command
    .option('--connection-string-file <file>', `file with ${what}`)
    .option(
      '--connection-string <string>',
      'the string itself; process lists show it, so prefer a file or the environment',
    );
}

/** Options for a device's own certificate. */
export function withOwnCertificate(command: Command): Command {
  return command
    .option('--cert-file <file>', 'the device’s own certificate, PEM, for a connection string with x509=true')
    .option('--key-file <file>', 'the private key to it, PEM, not encrypted');
}

/** Options of a command for services; on the hub's machine they default to its data directory. */
export function withConnection(command: Command, side: Side = 'service', more = ''): Command {
  return withDataDirectory(withFiles(command, A_SERVICE, side, more));
}

/** Options of a command that only needs the name of the hub, and does not connect to it. */
export function withHubName(command: Command): Command {
  return withDataDirectory(withConnectionString(command, A_SERVICE))
    .option(
      '--hub <host[:port]>',
      'as in connection strings (default: the hub that the other options or the environment name)',
    )
    .addHelpText('after', HUB_NAME_ENVIRONMENT);
}

const A_SERVICE = 'a service’s connection string';

function withDataDirectory(command: Command): Command {
  return command.option(
    '--data-dir <dir>',
    'on the hub’s machine: its data directory (default: the hub’s own default)',
  );
}

/** The same for a command that shows data. */
export function withOutput(command: Command, side: Side = 'service', more = ''): Command {
  return withFormat(withConnection(command, side, more));
}

/** The option that chooses between a table and JSON. */
export function withFormat(command: Command): Command {
  return command.addOption(new Option('--output <format>').choices(['json', 'table']).default('table'));
}

/** The option that limits how long a side of a raw stream may send nothing after the other has ended. Connections in a session have no such limit. */
export function withHalfCloseTimeout(command: Command): Command {
  return command.option(
    '--half-close-timeout <seconds>',
    'after one side of a raw stream has ended: how long the other may send nothing before it fails (default 60)',
    seconds,
  );
}

/** The option that limits for how long a session is kept while its link is lost. */
export function withSessionRetention(command: Command): Command {
  return command.option(
    '--session-retention <seconds>',
    'how long connections are kept while the network between the two ends is lost (default 900, at most 604800: a week; the shorter of both ends counts)',
    retention,
  );
}

/** The option that opens a stream for each connection instead of a session. */
export function withRaw(command: Command): Command {
  return command.option(
    '--raw',
    'a stream of its own for each connection, as to other clients’ devices: lost with any network',
  );
}

/** The options by which a command recognises a device. */
export function withTrust(command: Command): Command {
  return command
    .option('--allow-unencrypted', 'go on without end-to-end encryption even to a device whose key is known')
    .option(
      '--fleet-authority <file>',
      'certificates, PEM: accept devices with a certificate of theirs, and no others',
    );
}

function retention(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1 || number > 604_800)
    throw new InvalidArgumentError('It is not a whole number of seconds from 1 to 604800.');
  return number;
}

/** 1 second to a day: less would cut off slow answers, and more would be no limit. */
function seconds(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1 || number > 86_400)
    throw new InvalidArgumentError('It is not a whole number of seconds from 1 to 86400.');
  return number;
}

/** Collects the values of an option that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return [...(previous ?? []), value];
}
