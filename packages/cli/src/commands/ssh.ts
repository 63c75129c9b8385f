import { type ConnectionFlags, serviceConnection } from '../hub-connection.ts';
import { parseDestination } from '../ssh/destination.ts';
import { hostName } from '../ssh/host-name.ts';
import { knownHostsFile, sshPath } from '../ssh/known-hosts.ts';
import { proxyCommand } from '../ssh/proxy-command.ts';
import { runSsh } from '../ssh/run-ssh.ts';

/** Flags of `culvert ssh`, all before the destination; what follows it is ssh's. */
export interface SshFlags extends ConnectionFlags {
  /** The module of the device to log in to. */
  readonly module?: string;
  readonly login?: string;
}

/** `culvert ssh [USER@]DEVICE [ssh arguments…]`: resolves to ssh's exit code. */
export function ssh(destination: string, args: readonly string[], flags: SshFlags): Promise<number> {
  const { connectionString } = flags;
  // Says now, in one line, what is wrong, rather than from within ssh.
  serviceConnection(flags, 'service');
  return runSsh(sshArguments(destination, args, flags, knownHostsFile()), {
    ...process.env,
    // A process list shows arguments, not the environment.
    ...(connectionString === undefined
      ? {}
      : { CULVERT_CONNECTION_STRING: connectionString, CULVERT_CONNECTION_STRING_FILE: '' }),
  });
}

/** The whole argument list of ssh. The host is a name of {@link hostName}, so nothing the ids hold is special anywhere. */
export function sshArguments(
  destination: string,
  args: readonly string[],
  flags: SshFlags,
  knownHosts: string,
): readonly string[] {
  const { user, deviceId } = parseDestination(destination, flags.login);
  const host = hostName({ deviceId, moduleId: flags.module });
  const options = [
    `ProxyCommand=${proxyCommand(host, flags)}`,
    `HostKeyAlias=${host}`,
    `UserKnownHostsFile=${sshPath(knownHosts)}`,
    'StrictHostKeyChecking=accept-new',
  ];
  return [...options.flatMap((option) => ['-o', option]), ...(user === undefined ? [] : ['-l', user]), host, ...args];
}
