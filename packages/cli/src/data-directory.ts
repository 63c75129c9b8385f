import { join } from 'node:path';

/**
 * The hub's data directory when no setting names one: `/var/lib/culvert` for root, else `culvert` in the user's data directory
 * (`$XDG_DATA_HOME`, usually `~/.local/share`).
 * @param uid of the process; undefined where the system has none
 */
export function defaultDataDirectory(env: NodeJS.ProcessEnv, uid: number | undefined, home: string): string {
  if (uid === 0) return '/var/lib/culvert';
  return join(xdg(env['XDG_DATA_HOME']) ?? join(home, '.local', 'share'), 'culvert');
}

/** The quickstart's data directory, next to the hub's. Trial devices are kept apart from real ones, and a real hub can run at the same time. */
export function quickstartDirectory(env: NodeJS.ProcessEnv, uid: number | undefined, home: string): string {
  return `${defaultDataDirectory(env, uid, home)}-quickstart`;
}

/** Where `culvert ssh` stores host keys: `culvert` in the user's state directory (`$XDG_STATE_HOME`, usually `~/.local/state`). */
export function stateDirectory(env: NodeJS.ProcessEnv, home: string): string {
  return join(xdg(env['XDG_STATE_HOME']) ?? join(home, '.local', 'state'), 'culvert');
}

/** By the XDG base directory specification a relative path must be ignored. */
function xdg(value: string | undefined): string | undefined {
  return value?.startsWith('/') ? value : undefined;
}
