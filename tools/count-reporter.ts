import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';
import { TROUBLE, type Trouble } from './watched-forks.ts';

/**
 * Prints at the end of a run one line for each failure of a worker (`=== FILE died of SIGSEGV`), then the line that CI reads:
 * `N passed, N failed, N skipped`. Appends the same lines to the file that `CULVERT_COUNT_FILE` names.
 */
export default class CountReporter implements Reporter {
  readonly #troubles: Trouble[] = [];

  onInit(): void {
    subscribe(TROUBLE, (message) => void this.#troubles.push(message as Trouble));
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      // Count a file that fails before its first test as one failure.
      if (module.state() === 'failed' && !tests.some((test) => test.result().state === 'failed')) counts.failed++;
      for (const test of tests) {
        const { state } = test.result();
        if (state === 'passed') counts.passed++;
        else if (state === 'failed') counts.failed++;
        else counts.skipped++;
      }
    }
    // Print when the process exits, because the last workers end after the run.
    process.on('exit', () => {
      if (this.#troubles.length > 0) process.exitCode ||= 1;
      const failed = counts.failed + this.#troubles.filter(({ isCounted }) => !isCounted).length;
      const lines = [
        ...this.#troubles.map(({ text }) => `=== ${text}`),
        `${counts.passed} passed, ${failed} failed, ${counts.skipped} skipped`,
      ];
      const file = process.env['CULVERT_COUNT_FILE'];
      if (file !== undefined) appendFileSync(file, `${lines.join('\n')}\n`);
      console.log(lines.join('\n'));
    });
  }
}
