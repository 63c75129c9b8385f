import { surviveWithoutFetch } from '@culvert/stream/unused-fetch';
import { CommanderError } from 'commander';
import { tellError } from './messages.ts';
import { createProgram } from './program.ts';
import { watchOutput } from './standard-output.ts';
import { collectYoungGenerationSooner } from './young-generation.ts';

/** Runs a command line to its end, which is the end of the process. */
export async function main(argv: readonly string[]): Promise<void> {
  surviveWithoutFetch();
  collectYoungGenerationSooner();
  watchOutput();
  let code = 0;
  try {
    await createProgram((exitCode) => {
      code = exitCode;
    }).parseAsync(argv);
  } catch (error) {
    code = exitCode(error);
  }
  // Standard input, which nobody can close, would keep the process; what was written has left (pipes and files are written at once).
  process.exit(code);
}

function exitCode(error: unknown): number {
  // commander has said all there is to say.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return tellError(error);
}
