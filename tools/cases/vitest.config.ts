import { defineConfig } from 'vitest/config';
import { watchedForks } from '../watched-forks.ts';

/** Runs the cases of `watched-forks.test.ts`, which are no tests of ours: as a test run of its own, in a process of its own. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.case.ts'],
    pool: watchedForks,
    testTimeout: 0,
    reporters: ['../count-reporter.ts'],
  },
});
