import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { stateDirectory } from '../data-directory.ts';
import { fileProblem } from '../secret-file.ts';
import { sshPercent } from './shell-quote.ts';

/**
 * The file of the devices' host keys, apart from the user's own: a device's name is no name of a machine on the network.
 * Makes its directory (0700) where it is missing.
 * @throws CulvertError `config_invalid`
 */
export function knownHostsFile(env: NodeJS.ProcessEnv = process.env, home: string = homedir()): string {
  const directory = stateDirectory(env, home);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const problem = `cannot make ${directory}, where host keys are kept: ${fileProblem(error)}`;
    throw new CulvertError('config_invalid', problem, { cause: error });
  }
  return join(directory, 'known_hosts');
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
