import { CulvertError, parseServiceConnectionString } from '@culvert/protocol';
import { type ConnectionFlags, serviceConnection, surroundings } from '../hub-connection.ts';
import { lastingFlags } from '../lasting-flags.ts';
import { type HostKeyMode, strictChecking } from '../ssh/host-key-modes.ts';
import { HOST_SUFFIX } from '../ssh/host-name.ts';
import { knownHostsFile, sshPath } from '../ssh/known-hosts.ts';
import { type HostKeyPlace, proxyCommand, type StreamFlags } from '../ssh/proxy-command.ts';
import { writeOut } from '../standard-output.ts';

/** Flags of `culvert ssh-config`. */
export interface SshConfigFlags extends StreamFlags {
  /** Default `ask`. */
  readonly hostKeys?: HostKeyMode;
}

/**
 * `culvert ssh-config`: prints the block. It works from any folder and terminal, since its paths are absolute, including those that this run took
 * from its environment.
 * @throws CulvertError `usage` when the connection string is not in a file: a key must not be written into ssh's configuration
 */
export function sshConfig(flags: SshConfigFlags): Promise<void> {
  const around = surroundings();
  const { connectionString } = serviceConnection(flags, 'service', { ...around, warn: () => undefined });
  const lasting = lastingFlags(flags, around);
  if (lasting === undefined) {
    throw new CulvertError(
      'usage',
      'the connection string must not stand in the block, so it has to be in a file: write it to one (chmod 600), and run culvert ssh-config --connection-string-file FILE',
    );
  }
  const mode = flags.hostKeys ?? 'ask';
  const knownHosts = knownHostsFile(parseServiceConnectionString(connectionString));
  return writeOut(sshConfigBlock(blockCommand(flags, lasting, { mode, knownHosts }), knownHosts, mode));
}

/**
 * The ProxyCommand of the block.
 * @param flags of this run; what they say of files and the proxy is in `lasting`, as `lastingFlags` has it
 */
export function blockCommand(flags: StreamFlags, lasting: ConnectionFlags, place: HostKeyPlace): string {
  const { connectionString, connectionStringFile, dataDir, caFile, proxy, ...others } = flags;
  return proxyCommand('%n', { ...others, ...lasting }, place);
}

/**
 * The block for `~/.ssh/config`. ssh puts the host as typed (`%n`, which keeps upper case; `%h` does not) into a command line for the
 * user's shell. In single quotes only a single quote is special, so the block excludes hosts that contain one: ssh before 9.6 accepts
 * such hosts, while newer versions refuse them and other special characters. A device id with any of those characters is written in the
 * form of `hostName`, as `culvert ssh` does.
 */
export function sshConfigBlock(command: string, knownHosts: string, mode: HostKeyMode = 'ask'): string {
  const options = [
    `ProxyCommand ${command}`,
    `UserKnownHostsFile ${sshPath(knownHosts)}`,
    ...strictChecking(mode).map((option) => option.replace('=', ' ')),
  ];
  return `# ssh DEVICE${HOST_SUFFIX}, scp, rsync, sftp, git: through Culvert. Characters of a device id other than a-z 0-9 - _ . are written
# ~ and two hexadecimal digits, as in ~24 for $ and ~50 for P. A module of a device is DEVICE~2fMODULE${HOST_SUFFIX}.
Host *${HOST_SUFFIX} "!*'*"
${options.map((option) => `  ${option}\n`).join('')}`;
}
