import { surviveWithoutFetch } from '@culvert/stream/unused-fetch';
import { CommanderError } from 'commander';
import { tellError } from './messages.ts';
import { createProgram } from './program.ts';
import { watchOutput } from './standard-output.ts';
import { collectYoungGenerationSooner } from './young-generation.ts';

/** Runs a command line to its end, then ends the process. */
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
  // Exit explicitly: an open standard input would keep the process running. All output is already written (writes to pipes and files are synchronous).
  process.exit(code);
}

function exitCode(error: unknown): number {
  // commander has already printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return tellError(error);
}
