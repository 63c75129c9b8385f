import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError, parseSshHostKey } from '@culvert/protocol';
import type { Target } from '@culvert/proxy/agent';
import { isLoopback } from './hub-connection.ts';
import { readSmallFile } from './secret-file.ts';

/** The directory where OpenSSH stores its host keys; on Windows below `%ProgramData%`. */
function openSshDirectory({ ProgramData }: NodeJS.ProcessEnv): string {
  return ProgramData === undefined ? '/etc/ssh' : join(ProgramData, 'ssh');
}

/**
 * The public host keys that an agent sends to its hub. By default these are the keys of OpenSSH on this machine, but only if the service `ssh` runs on
 * this machine: else they would belong to another machine.
 * @param files `.pub` files; false for none
 * @throws CulvertError `config_invalid` for a named file that cannot be read or holds no public key
 */
export function agentHostKeys(
  files: readonly string[] | false | undefined,
  services: ReadonlyMap<string, Target>,
  directory: string = openSshDirectory(process.env),
): readonly string[] {
  if (files === false) return [];
  if (files !== undefined) return files.map(publicKey);
  const target = services.get('ssh');
  if (target === undefined || !isLoopback(target.host)) return [];
  return ownKeyFiles(directory).flatMap((file) => keyIn(file) ?? []);
}

function publicKey(file: string): string {
  const key = parseSshHostKey(readSmallFile(file));
  if (key === undefined) throw new CulvertError('config_invalid', `${file} holds no public SSH host key`);
  return key;
}

function ownKeyFiles(directory: string): string[] {
  try {
    const names = readdirSync(directory).filter((name) => /^ssh_host_\w+_key\.pub$/.test(name));
    return names.sort().map((name) => join(directory, name));
  } catch {
    // The directory cannot be read: this machine has another SSH server, or none.
    return [];
  }
}

/** Reads a default file. The user did not name it, so a file that cannot be used is skipped. */
function keyIn(file: string): string | undefined {
  try {
    return parseSshHostKey(readSmallFile(file));
  } catch {
    return undefined;
  }
}
