import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { stateDirectory } from '../data-directory.ts';
import { directoryProblem } from '../secret-file.ts';
import { sshPercent } from './shell-quote.ts';

/** A hub as connection strings name it. */
export interface HubName {
  readonly host: string;
  readonly port: number;
}

/**
 * The file of the host keys of one hub's devices, apart from the user's own: a device's name is no name of a machine on the network, and a device of
 * another hub with the same id is another machine. Makes its directory (0700) where it is missing.
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

/** A file name that is valid everywhere and unique per hub: `hub.example.com`, with another port than 443 `hub.example.com_8443`. */
function fileName({ host, port }: HubName): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, (character) => `~${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return port === 443 ? name : `${name}_${port}`;
}

/**
 * A path as a value of ssh's UserKnownHostsFile, which takes several words and expands `%` and `${…}`.
 * @throws CulvertError `config_invalid` for characters that cannot be written there
 */
export function sshPath(path: string): string {
  if (/["\\\n]|\$\{/.test(path)) {
    throw new CulvertError(
      'config_invalid',
      `ssh cannot be told of the file ${path}: set XDG_STATE_HOME to a plainer path`,
    );
  }
  return `"${sshPercent(path)}"`;
}
