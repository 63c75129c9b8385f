import { killProcessesOf } from './test-processes.ts';

// A process that runs longer than a test run, however the run ends. Its standard input is a pipe from the run's process. When the pipe is closed,
// it kills the run's workers and all processes that they have started and not ended.

const [run] = process.argv.slice(2);
if (run === undefined || run === '') throw new Error('usage: test-warden.ts RUN_ID');

process.stdin.resume();
process.stdin.on('error', () => undefined);
process.stdin.once('close', () => {
  killProcessesOf(run);
});
