import type { Cleanup } from './cleanup.ts';
import { nodeFromNpm } from './node-from-npm.ts';
import { run } from './program.ts';

/** Returns the path of a Node 20: the system's if it has that version, otherwise one from npm. Without either the test fails. */
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
