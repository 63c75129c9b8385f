import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where `install-peers.sh` puts what is not the system's. */
export const PEER_DIRECTORY: string =
  process.env['CULVERT_BENCH_PEERS'] ??
  join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'culvert-bench');

/** The reason why a peer cannot run, when `file` of the directory is not there. */
export function notInstalled(file: string): string | undefined {
  return existsSync(join(PEER_DIRECTORY, file))
    ? undefined
    : 'not installed: run bench/install-peers.sh, which says why';
}
