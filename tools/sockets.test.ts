import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

const sources = globSync('packages/*/src/**/*.ts', { cwd: root })
  .filter((path) => !/\.(test|fixture)\.ts$/.test(path) && !path.startsWith('packages/testkit/'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

/** Matches the imports of Node modules that open or accept connections, and the functions in them that do so. */
const OPENS = /^import (?:\* as (\w+)|(?:type )?\{([^}]*)\}) from 'node:(?:net|tls|https?)';$/gm;
const MAKERS = /\b(connect|createConnection|createServer|request|Agent)\b/;

/** Files that need no keepalive setting, each with the reason. */
const EXEMPT: Readonly<Record<string, string>> = {
  'packages/cli/src/ssh/failure-report.ts': 'listens on a path of this machine, where no connection is lost in silence',
  'packages/hub/src/gateway/start-workers.ts': 'finds out whether a port is free, and accepts nobody',
  'packages/session/src/keys/link-context.ts': 'speaks TLS over a stream whose socket is not its own',
  'packages/service/src/exchange.ts': 'asks by the agent that it is given',
};

function opens(text: string): boolean {
  return [...text.matchAll(OPENS)].some(([, all, names = '']) =>
    all === undefined ? MAKERS.test(names) : new RegExp(`\\b${all}\\.${MAKERS.source}`).test(text),
  );
}

it('every file that opens or accepts a socket states its keepalive, or leaves it to an agent that does', () => {
  const opening = sources.filter(({ text }) => opens(text));
  expect(opening.length).toBeGreaterThan(8);
  const unstated = opening.filter(
    ({ path, text }) =>
      EXEMPT[path] === undefined && !/\b(stateKeepAlive|outboundAgent|beforeTls)\(|AGENT_KEEP_ALIVE\b/.test(text),
  );
  expect(unstated.map(({ path }) => path)).toEqual([]);
  for (const path of Object.keys(EXEMPT)) expect(opening.map((source) => source.path)).toContain(path);
});

it('no other place sets a keepalive', () => {
  const setting = sources.filter(({ text }) => /\.setKeepAlive\(|\bkeepAlive(InitialDelay|Msecs)?: /.test(text));
  expect(setting.map(({ path }) => path)).toEqual(['packages/stream/src/keep-alive.ts']);
});
