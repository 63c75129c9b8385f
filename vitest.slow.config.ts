import { defineConfig } from 'vitest/config';
import { common } from './vitest.system.config.ts';

/** The system tests that take minutes each. CI does not run them: a release needs one run by hand, as CONTRIBUTING.md says. */
export default defineConfig({
  ...common,
  test: { ...common.test, include: ['tests/system/slow/*.test.ts'], fileParallelism: false },
});
