import { defineConfig } from 'vitest/config';

export default defineConfig({
  ssr: { resolve: { conditions: ['development', 'node', 'default'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'tools/**/*.test.ts', 'fuzz/**/*.test.ts', 'bench/**/*.test.ts'],
    pool: 'forks',
    execArgv: ['--conditions=development'],
    testTimeout: 20_000,
    reporters: ['default', './tools/count-reporter.ts'],
  },
});
