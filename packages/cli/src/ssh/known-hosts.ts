import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { stateDirectory } from '../data-directory.ts';
import { directoryProblem } from '../secret-file.ts';
import { sshPercent } from './shell-quote.ts';

/** A hub's host and port, as in connection strings. */
export interface HubName {
  readonly host: string;
  readonly port: number;
}

/**
 * The file of the host keys of one hub's devices. It is apart from the user's own file, since a device's name is not the name of a machine on the
 * network, and a device of another hub with the same id is another machine. Creates the file's directory (0700) if it does not exist.
 * @throws CulvertError `config_invalid`
 */
export function knownHostsFile(hub: HubName, env: NodeJS.ProcessEnv = process.env, home: string = homedir()): string {
  const directory = join(stateDirectory(env, home), 'known_hosts.d');
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const problem = `cannot make ${directory}, where host keys are kept: ${directoryProblem(error)}; XDG_STATE_HOME names another place`;
    throw new CulvertError('config_invalid', problem, { cause: error });
  }
  return join(directory, fileName(hub));
}

/** A file name that is valid on any system and unique per hub: `hub.example.com`, or with a port other than 443 `hub.example.com_8443`. */
function fileName({ host, port }: HubName): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, (character) => `~${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return port === 443 ? name : `${name}_${port}`;
}

/**
 * A path as a value of ssh's UserKnownHostsFile, which takes several words and expands `%` and `${…}`.
 * @throws CulvertError `config_invalid` for characters that cannot be escaped there
 */
export function sshPath(path: string): string {
  if (/["\\\n]|\$\{/.test(path)) {
    throw new CulvertError(
      'config_invalid',
      `ssh cannot use the file path ${path}: set XDG_STATE_HOME to a plainer path`,
    );
  }
  return `"${sshPercent(path)}"`;
}
