import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The directory in which `install-peers.sh` installs the programs that are not from Debian. */
export const PEER_DIRECTORY: string =
  process.env['CULVERT_BENCH_PEERS'] ??
  join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'culvert-bench');

/**
 * Returns the reason why a peer cannot run when `file` is missing from the directory, otherwise undefined.
 * @param name of the peer in `install-peers.sh`, which keeps the output of its installation
 */
export function notInstalled(file: string, name?: string): string | undefined {
  if (existsSync(join(PEER_DIRECTORY, file))) return undefined;
  const tried = name === undefined ? undefined : lastLine(join(PEER_DIRECTORY, `${name}.log`));
  return tried === undefined
    ? 'not installed: run bench/install-peers.sh'
    : `could not be installed by bench/install-peers.sh: ${tried}`;
}

/** Returns the last line that is not blank; `undefined` without a file. */
function lastLine(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1)?.trim();
}
