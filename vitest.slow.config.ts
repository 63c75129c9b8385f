import { defineConfig } from 'vitest/config';
import system from './vitest.system.config.ts';

/** The system tests that take minutes each. CI does not run them: a release needs one run by hand, as CONTRIBUTING.md says. */
export default defineConfig({ ...system, test: { ...system.test, include: ['tests/system/slow/*.test.ts'] } });
