import type { Cleanup } from './cleanup.ts';
import { nodeFromNpm } from './node-from-npm.ts';
import { run } from './program.ts';

/** A Node 20: the system's where it is one, else from npm. There is no third way out: without one the test fails. */
export async function node20(cleanup: Cleanup): Promise<string> {
  for (const candidate of ['/usr/bin/node', '/usr/local/bin/node']) {
    const version = await run(candidate, ['--version']).then(
      ({ stdout }) => stdout,
      () => 'none',
    );
    if (version.startsWith('v20.')) return candidate;
  }
  return nodeFromNpm(cleanup, '20');
}
