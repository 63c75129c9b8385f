import { realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { shellQuote } from './ssh/shell-quote.ts';

/** The beginning of a command line that runs this program again from another terminal. */
export interface OwnCommand {
  /** Quoted for a shell. */
  readonly text: string;
  /** Whether the text only works in the directory where this process was started, or below it. */
  readonly isLocal: boolean;
}

/** The properties of a process that {@link ownCommand} uses. */
export interface Start {
  /** Path of Node. */
  readonly node: string;
  /** Path of the program as it was started, `process.argv[1]`. */
  readonly script: string;
  readonly cwd: string;
  readonly path: string | undefined;
}

/**
 * The command that starts this program again: `culvert` if that is on the path (a global installation), `npx` if the program is installed in a project
 * or was fetched by npx for one run, else the program's own path.
 */
export function ownCommand({ node, script, cwd, path = '' }: Start): OwnCommand {
  const own = realPath(script);
  // npm and npx put the project's programs on the path; another terminal does not have them there.
  const isLasting = (directory: string) => directory !== '' && !/[\\/]node_modules[\\/]\.bin[\\/]?$/.test(directory);
  const found = path
    .split(delimiter)
    .filter(isLasting)
    .map((directory) => realPath(join(directory, 'culvert')))
    .find((candidate) => candidate !== undefined);
  if (own !== undefined && found === own) return { text: 'culvert', isLocal: false };
  if (/[\\/]_npx[\\/]/.test(script)) return { text: 'npx culvert', isLocal: false };
  for (let at = cwd; ; at = dirname(at)) {
    const local = realPath(join(at, 'node_modules', '.bin', 'culvert'));
    if (local !== undefined && local === own) return { text: 'npx --no-install culvert', isLocal: true };
    if (at === dirname(at)) break;
  }
  return { text: `${word(node)} ${word(script)}`, isLocal: false };
}

/** Text as one word of a shell command, quoted only if necessary. */
export function word(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : shellQuote(text);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
