import { describe, expect, it } from 'vitest';
import { culvert } from './culvert.fixture.ts';

/** Prints at the process's end which packages were loaded. */
const HOOK = `data:text/javascript,${encodeURIComponent(`
import { registerHooks } from 'node:module';
const packages = new Set();
registerHooks({ load(url, context, next) {
  const found = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url) ?? /packages\\/([^/]+)\\//.exec(url);
  if (found) packages.add(found[1]);
  return next(url, context);
} });
process.on('exit', () => process.stderr.write('LOADED ' + JSON.stringify([...packages].sort()) + '\\n'));
`)}`;

describe('culvert connect', () => {
  it('loads nothing that it does not need, for it is in the way of every ssh connection', async () => {
    const { code, stderr } = await culvert(['connect', 'd', 'ssh', '--stdio'], {
      CULVERT_CONNECTION_STRING: 'HostName=127.0.0.1:1;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0',
      NODE_OPTIONS: `--import=${HOOK}`,
    });
    expect(code).toBe(69);
    const loaded: unknown = JSON.parse(/LOADED (.*)/.exec(stderr)?.[1] ?? '[]');
    expect(loaded).toEqual(['cli', 'commander', 'protocol', 'proxy', 'service', 'session', 'stream', 'ws']);
  });
});
