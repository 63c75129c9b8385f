import { fileURLToPath } from 'node:url';
import type { Cleanup } from './cleanup.ts';
import { cleanEnvironment, type Ended, Program, type ProgramOptions, run } from './program.ts';

/** The root directory of the checkout. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** The built command, at its installed location. */
export const CULVERT = fileURLToPath(new URL('../../../packages/cli/bin/culvert.js', import.meta.url));

/** Returns the command line of `culvert`: the Node that runs these tests, without the Node options of the tests. */
export function culvertCommand(...args: readonly string[]): [command: string, args: string[]] {
  return [process.execPath, [CULVERT, ...args]];
}

/** Runs `culvert` and waits for its end. */
export function culvert(
  args: readonly string[],
  options: ProgramOptions & { input?: string | Buffer; timeoutMs?: number } = {},
): Promise<Ended> {
  const [command, all] = culvertCommand(...args);
  return run(command, all, options);
}

/** Starts `culvert` and stops it at the end of the test. */
export function startCulvert(cleanup: Cleanup, args: readonly string[], env: NodeJS.ProcessEnv): Program {
  const [command, all] = culvertCommand(...args);
  return cleanup.defer(new Program(command, all, { env: cleanEnvironment(env) }), (program) => program.stop());
}
