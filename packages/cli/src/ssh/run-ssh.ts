import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { CulvertError } from '@culvert/protocol';

/**
 * Runs the real `ssh` in this terminal.
 * @returns its exit code, 128 and the signal's number when a signal ended it
 * @throws CulvertError `config_invalid` when there is no ssh
 */
export function runSsh(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('ssh', args, { stdio: 'inherit', env });
    // A terminal sends Ctrl-C to ssh as well, and ssh decides what it means.
    const onInt = (): void => undefined;
    const onTerm = (): void => {
      child.kill('SIGTERM');
    };
    process.on('SIGINT', onInt);
    process.on('SIGTERM', onTerm);
    const settle = (): void => {
      process.off('SIGINT', onInt);
      process.off('SIGTERM', onTerm);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle();
      const why =
        error.code === 'ENOENT'
          ? 'there is no ssh on this machine; install the OpenSSH client'
          : `ssh: ${error.message}`;
      reject(new CulvertError('config_invalid', why, { cause: error }));
    });
    child.on('exit', (code, signal) => {
      settle();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
