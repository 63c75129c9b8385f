import { defineConfig } from 'vitest/config';

/** Tests that need real programs beside Node: OpenSSH, Mosquitto's clients, curl, Chromium, xrdp. `.ci/run` installs them. */
export default defineConfig({
  ssr: { resolve: { conditions: ['development', 'node', 'default'] } },
  test: {
    include: ['tests/system/**/*.test.ts'],
    pool: 'forks',
    execArgv: ['--conditions=development'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['default', './tools/compatibility-reporter.ts', './tools/count-reporter.ts'],
  },
});
