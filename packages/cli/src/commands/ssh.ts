import { parseServiceConnectionString } from '@culvert/protocol';
import { serviceConnection } from '../hub-connection.ts';
import { parseDestination } from '../ssh/destination.ts';
import { type HostKeyMode, strictChecking } from '../ssh/host-key-modes.ts';
import { hostName } from '../ssh/host-name.ts';
import { knownHostsFile, sshPath } from '../ssh/known-hosts.ts';
import { proxyCommand, type StreamFlags } from '../ssh/proxy-command.ts';
import { runSsh } from '../ssh/run-ssh.ts';

/** Flags of `culvert ssh`. All of them are before the destination; the arguments after it belong to ssh. */
export interface SshFlags extends StreamFlags {
  /** The module of the device to log in to. */
  readonly module?: string;
  readonly login?: string;
  /** Default `ask`. */
  readonly hostKeys?: HostKeyMode;
}

/** The part of a `culvert ssh` command line that is passed to ssh. */
export interface SshWords {
  /** Options before the destination. */
  readonly before: readonly string[];
  /** Arguments after the destination. */
  readonly after: readonly string[];
}

/** `culvert ssh [ssh options…] [USER@]DEVICE [ssh arguments…]`. Resolves to ssh's exit code, or to Culvert's if the connection to the device failed. */
export function ssh(destination: string, words: SshWords, flags: SshFlags): Promise<number> {
  // Report a wrong connection option here, in one line, instead of from within ssh.
  const connection = serviceConnection(flags, 'service');
  const knownHosts = knownHostsFile(parseServiceConnectionString(connection.connectionString));
  const { connectionString } = flags;
  return runSsh(sshArguments(destination, words, flags, knownHosts), {
    ...process.env,
    // A process list shows arguments, not the environment.
    ...(connectionString === undefined
      ? {}
      : { CULVERT_CONNECTION_STRING: connectionString, CULVERT_CONNECTION_STRING_FILE: '' }),
  });
}

/** The whole argument list of ssh. The host is in the form of {@link hostName}, so it holds no characters that are special to ssh or a shell. */
export function sshArguments(
  destination: string,
  { before, after }: SshWords,
  flags: SshFlags,
  knownHosts: string,
): readonly string[] {
  const { user, deviceId } = parseDestination(destination, flags.login);
  const host = hostName({ deviceId, moduleId: flags.module });
  const mode = flags.hostKeys ?? 'ask';
  const options = [
    `ProxyCommand=${proxyCommand(host, flags, { mode, knownHosts })}`,
    `HostKeyAlias=${host}`,
    `UserKnownHostsFile=${sshPath(knownHosts)}`,
    ...strictChecking(mode),
  ];
  const login = user === undefined ? [] : ['-l', user];
  return [...options.flatMap((option) => ['-o', option]), ...before, ...login, host, ...after];
}
