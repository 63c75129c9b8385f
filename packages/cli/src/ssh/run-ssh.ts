import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { CulvertError } from '@culvert/protocol';
import { type ConnectionFailure, FailureReports, REPORT_VARIABLE } from './failure-report.ts';

/** ssh's exit code for an error of its own. */
const SSH_FAILED = 255;

/**
 * Runs the real `ssh` in this terminal.
 * @returns its exit code; 128 plus the signal's number if a signal ended it; if the connection to the device failed, the code of that failure
 * @throws CulvertError `config_invalid` when there is no ssh
 */
export async function runSsh(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  let failure: ConnectionFailure | undefined;
  let end: () => void = () => undefined;
  const reports = await FailureReports.listen((reported) => {
    failure = reported;
    // The reason was already printed; ssh would add two lines.
    if (!reported.opened) end();
  });
  try {
    const code = await run(args, { ...env, [REPORT_VARIABLE]: reports?.path ?? '' }, (kill) => {
      end = kill;
    });
    if (failure === undefined) return code;
    return failure.opened && code !== SSH_FAILED ? code : failure.exit;
  } finally {
    reports?.close();
  }
}

function run(args: readonly string[], env: NodeJS.ProcessEnv, onStarted: (kill: () => void) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('ssh', args, { stdio: 'inherit', env });
    // Ignored here: the terminal sends Ctrl-C to ssh as well, and ssh decides how to react.
    const onInt = (): void => undefined;
    const onTerm = (): void => {
      child.kill('SIGTERM');
    };
    process.on('SIGINT', onInt);
    process.on('SIGTERM', onTerm);
    onStarted(onTerm);
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
