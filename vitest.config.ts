import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { watchedForks } from './tools/watched-forks.ts';

export default defineConfig({
  ssr: { resolve: { conditions: ['development', 'node', 'default'] } },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts', 'tools/**/*.test.ts', 'fuzz/**/*.test.ts', 'bench/**/*.test.ts'],
    // What is waited for by looking again and again.
    expect: { poll: { timeout: 120_000 } },
    pool: watchedForks,
    // Two at least: Vitest leaves one processor free, and on two a single worker spends much of its time waiting for the programs it has started.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    execArgv: ['--conditions=development'],
    // Guards against what hangs, and no more: no test may depend on how fast the machine is.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ['default', './tools/count-reporter.ts'],
  },
});
