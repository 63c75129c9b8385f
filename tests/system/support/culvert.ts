import { fileURLToPath } from 'node:url';
import type { Cleanup } from './cleanup.ts';
import { cleanEnvironment, type Ended, Program, type ProgramOptions, run } from './program.ts';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** The built command, as it is installed. */
export const CULVERT = fileURLToPath(new URL('../../../packages/cli/bin/culvert.js', import.meta.url));

/** The command line of `culvert`: the Node these tests run on, without the options they run with. */
export function culvertCommand(...args: readonly string[]): [command: string, args: string[]] {
  return [process.execPath, [CULVERT, ...args]];
}

/** Runs `culvert` to its end. */
export function culvert(
  args: readonly string[],
  options: ProgramOptions & { input?: string | Buffer; timeoutMs?: number } = {},
): Promise<Ended> {
  const [command, all] = culvertCommand(...args);
  return run(command, all, options);
}

/** Starts `culvert` and ends it with the test. */
export function startCulvert(cleanup: Cleanup, args: readonly string[], env: NodeJS.ProcessEnv): Program {
  const [command, all] = culvertCommand(...args);
  return cleanup.defer(new Program(command, all, { env: cleanEnvironment(env) }), (program) => program.stop());
}
