import type { ConnectionFlags } from '../hub-connection.ts';
import { HOST_SUFFIX } from '../ssh/host-name.ts';
import { knownHostsFile, sshPath } from '../ssh/known-hosts.ts';
import { proxyCommand } from '../ssh/proxy-command.ts';
import { writeOut } from '../standard-output.ts';

/** `culvert ssh-config`: prints the block. */
export function sshConfig(flags: ConnectionFlags): Promise<void> {
  return writeOut(sshConfigBlock(proxyCommand('%n', flags), knownHostsFile()));
}

/**
 * The block for `~/.ssh/config`. ssh puts the typed host (`%n`, which keeps its case; `%h` does not) into a command line for the
 * user's shell. In single quotes only a single quote is special, so the block does not apply to a host that holds one: ssh before
 * 9.6 accepts such hosts, newer ones refuse them and other special characters anyway. A device whose id holds any of those is
 * written in the form of `hostName`, which `culvert ssh` uses by itself.
 */
export function sshConfigBlock(command: string, knownHosts: string): string {
  return `# ssh DEVICE${HOST_SUFFIX}, scp, rsync, sftp, git: through Culvert. Characters of a device id other than a-z A-Z 0-9 - _ .
# are written ~ and two hexadecimal digits, as in ~24 for $. A module of a device is DEVICE~2fMODULE${HOST_SUFFIX}.
Host *${HOST_SUFFIX} "!*'*"
  ProxyCommand ${command}
  UserKnownHostsFile ${sshPath(knownHosts)}
  StrictHostKeyChecking accept-new
`;
}
