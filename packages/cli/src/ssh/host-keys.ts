import { execFile } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { CulvertError, type Identity, identityName, type ReachabilityView } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';
import { fingerprint } from './fingerprint.ts';
import type { HostKeyMode } from './host-key-modes.ts';
import { hostName } from './host-name.ts';

/** Options of {@link prepareHostKeys}. */
export interface FirstContact {
  readonly identity: Identity;
  readonly mode: HostKeyMode;
  readonly knownHosts: string;
  readonly reachability: () => Promise<ReachabilityView>;
  readonly tell: (text: string) => void;
}

/**
 * Called before ssh connects. If no key of the device is stored yet, prints the host keys that the hub has, or writes them to the file for ssh to compare.
 * ssh reads the file only after the device's first line, which arrives on a stream that is opened after this call.
 * @throws CulvertError of `reachability`; `config_invalid` when the file cannot be written
 */
export async function prepareHostKeys({ identity, mode, knownHosts, reachability, tell }: FirstContact): Promise<void> {
  const host = hostName(identity);
  if (mode === 'accept-new' || (await isKnown(host, knownHosts))) return;
  const { sshHostKeys, namesOtherHostKeys } = await reachability();
  const name = identityName(identity);
  if (namesOtherHostKeys)
    tell(
      `the agent of ${name} now sends other host keys than those registered; if it was set up again: culvert ${identity.moduleId === undefined ? `device update ${name}` : `module update ${identity.deviceId} ${identity.moduleId}`} --forget-host-keys`,
    );
  if (sshHostKeys.length === 0) return;
  const prints = sshHostKeys.map(fingerprint).join(', ');
  if (mode === 'ask') {
    tell(
      `the hub says that the host keys of ${name} are ${prints}; compare them on the device, since only the hub vouches for them`,
    );
    return;
  }
  try {
    appendFileSync(knownHosts, sshHostKeys.map((key) => `${host} ${key}\n`).join(''), { mode: 0o600 });
  } catch (error) {
    throw new CulvertError('config_invalid', `cannot write ${knownHosts}: ${fileProblem(error)}`, { cause: error });
  }
  tell(`took the host keys of ${name} from the hub: ${prints}`);
}

/** Whether the file has an entry for the host, in plain text or hashed: ssh-keygen, which is installed with ssh, reads both. */
function isKnown(host: string, file: string): Promise<boolean> {
  return new Promise((resolve) => {
    execFile('ssh-keygen', ['-F', host, '-f', file], (error) => resolve(error === null));
  });
}
