import { realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { shellQuote } from './ssh/shell-quote.ts';

/** The beginning of a command line that runs this program again from another terminal. */
export interface OwnCommand {
  /** Ready for a shell. */
  readonly text: string;
  /** Whether that only works in the directory where this process was started, or below it. */
  readonly isLocal: boolean;
}

/** A process as {@link ownCommand} looks at it. */
export interface Start {
  /** Path of Node. */
  readonly node: string;
  /** Path of the program as it was started, `process.argv[1]`. */
  readonly script: string;
  readonly cwd: string;
  readonly path: string | undefined;
}

/**
 * How its user starts this program: `culvert` where that is on the path (a global installation), `npx` where it stands in a project or was fetched for once, and
 * by its own path else.
 */
export function ownCommand({ node, script, cwd, path = '' }: Start): OwnCommand {
  const own = realPath(script);
  // npm and npx put the project's programs on the path, which another terminal does not have.
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

/** A word of a shell, quoted only where it has to be. */
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
