import { defineConfig } from 'vitest/config';
import { watchedForks } from '../watched-forks.ts';

/** Runs the cases of `watched-forks.test.ts`, which are inputs of that test, in a separate test run and process. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.case.ts'],
    pool: watchedForks,
    testTimeout: 0,
    reporters: ['../count-reporter.ts'],
  },
});
