import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import type { ServiceSessionOptions } from '@culvert/service';
import { type EndKey, makePrivateDirectory, openEndKey } from '@culvert/session/keys';
import { systemClock } from '@culvert/stream';
import { stateDirectory } from './data-directory.ts';
import type { Surroundings } from './hub-connection.ts';
import { directoryProblem } from './secret-file.ts';

/** Name of the key file in its directory. */
const KEY_FILE = 'end-key.pem';

/** The flags by which a service's command recognises devices. */
export interface TrustFlags {
  readonly allowUnencrypted?: boolean;
  /** A PEM file with the authorities of the fleet. */
  readonly fleetAuthority?: string;
}

/** The files of this user as a service side: the own key, and the pinned keys of devices. */
export function userFiles({ env, home }: Surroundings): { readonly key: string; readonly knownDevices: string } {
  const directory = stateDirectory(env, home);
  return { key: join(directory, KEY_FILE), knownDevices: join(directory, 'known_devices') };
}

/** Opens this user's key, and creates it at first use. @throws CulvertError `config_invalid` */
export function openUserKey(around: Surroundings): Promise<EndKey> {
  return openEndKey(userFiles(around).key, { clock: systemClock, warn: around.warn });
}

/**
 * The options by which a client recognises devices. Where the state directory cannot be made, it says so and goes on: devices are then recognised only as
 * long as this program runs.
 * @throws CulvertError `config_invalid` when a file is there and cannot be used
 */
export async function trustOptions(
  { allowUnencrypted = false, fleetAuthority }: TrustFlags,
  around: Surroundings,
): Promise<ServiceSessionOptions> {
  const given = {
    allowUnencrypted,
    allowUnencryptedName: '--allow-unencrypted',
    ...(fleetAuthority === undefined ? {} : { fleetAuthorities: fleetAuthority }),
  };
  const { env, home, warn } = around;
  const problem = await unusable(stateDirectory(env, home));
  if (problem !== undefined) {
    warn(
      `warning: ${problem}; the keys of devices are not kept, and this side has none; XDG_STATE_HOME names another place`,
    );
    return given;
  }
  const { knownDevices } = userFiles(around);
  return { ...given, knownDevices, key: await openUserKey(around) };
}

/** The directory where an agent keeps its key: that of its systemd unit (`StateDirectory=`), else `agent` in the user's state directory. */
export function agentDirectory({ env, home }: Surroundings): string {
  const [unit] = (env['STATE_DIRECTORY'] ?? '').split(':');
  return unit?.startsWith('/') ? unit : join(stateDirectory(env, home), 'agent');
}

/**
 * Opens the key of an agent, and creates it at the first start.
 * @param path given by the user; default: in {@link agentDirectory}
 * @param needsKey whether the agent must not run without one
 * @returns undefined, after a warning, when the default directory cannot be made and the agent may run without a key
 * @throws CulvertError `config_invalid` when the file cannot be used: peers have pinned its key
 */
export async function openAgentKey(
  path: string | undefined,
  needsKey: boolean,
  around: Surroundings,
): Promise<EndKey | undefined> {
  const options = { clock: systemClock, warn: around.warn };
  if (path !== undefined) return openEndKey(path, options);
  const directory = agentDirectory(around);
  const problem = await unusable(directory);
  if (problem === undefined) return openEndKey(join(directory, KEY_FILE), options);
  const advice = 'give --end-key FILE, or StateDirectory= in its systemd unit';
  if (needsKey) throw new CulvertError('config_invalid', `the agent has no place for its key (${problem}): ${advice}`);
  around.warn(
    `warning: the agent has no place for its key (${problem}), so nothing is encrypted end to end, and the hub can read and change it: ${advice}`,
  );
  return undefined;
}

/** Why files cannot be kept in a directory, which is created (0700) if it does not exist; undefined if they can, or if there are some already. */
async function unusable(directory: string): Promise<string | undefined> {
  try {
    await makePrivateDirectory(directory);
    // A file that is there is used or fails, but is never ignored.
    if (!existsSync(join(directory, KEY_FILE))) await access(directory, constants.W_OK);
    return undefined;
  } catch (error) {
    return `cannot write to ${directory}: ${directoryProblem(error)}`;
  }
}
