import { defineConfig } from 'vitest/config';
import { watchedForks } from './tools/watched-forks.ts';

/** Tests that need real programs beside Node: OpenSSH, Mosquitto's clients, curl, Chromium, xrdp. `.ci/run` installs them. */
export default defineConfig({
  ssr: { resolve: { conditions: ['development', 'node', 'default'] } },
  test: {
    include: ['tests/system/*.test.ts'],
    // What is waited for by looking again and again.
    expect: { poll: { timeout: 300_000 } },
    pool: watchedForks,
    execArgv: ['--conditions=development'],
    fileParallelism: false,
    // As in vitest.config.ts.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    reporters: ['default', './tools/compatibility-reporter.ts', './tools/count-reporter.ts'],
  },
});
