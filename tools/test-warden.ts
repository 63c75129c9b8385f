import { killProcessesOf } from './test-processes.ts';

// Outlives a test run, however that ends: its standard input is a pipe from the run's process, and when that is closed, whatever the run's
// workers have started and not ended is killed, and the workers themselves.

const [run] = process.argv.slice(2);
if (run === undefined || run === '') throw new Error('Whose processes?');

process.stdin.resume();
process.stdin.on('error', () => undefined);
process.stdin.once('close', () => {
  killProcessesOf(run);
});
