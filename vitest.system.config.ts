import { defineConfig } from 'vitest/config';
import { watchedForks } from './tools/watched-forks.ts';

/**
 * The files that run two at a time. They mostly wait: for a ping, for a token to expire, for a client's next retry. Each has a hub of its own on ports
 * or a loopback address of its own, measures no processor time and no memory, and needs none of the machine's files, mounts or displays. A file
 * that is not listed runs while no other does.
 */
const IN_PAIRS = [
  'amqp-clients',
  'azure-clients',
  'credentials',
  'half-close',
  'hub-killed',
  // Network namespaces are named for the process that makes them.
  'idle-agent',
  'mqtt-clients',
  'proxy-protocol',
  'published-certificates',
  'published-devices',
  'published-registry',
  'published-service',
  'redaction',
  'restart',
  'session-address-change',
  'session-agent-restart',
  'session-hub-killed',
  'session-old-peers',
  'session-suspended',
  'ssh',
].map((name) => `tests/system/${name}.test.ts`);

/** What all system tests have in common, those of vitest.slow.config.ts too. */
export const common = defineConfig({
  ssr: { resolve: { conditions: ['development', 'node', 'default'] } },
  test: {
    // What is waited for by looking again and again.
    expect: { poll: { timeout: 300_000 } },
    pool: watchedForks,
    execArgv: ['--conditions=development'],
    // As in vitest.config.ts.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    reporters: ['default', './tools/compatibility-reporter.ts', './tools/count-reporter.ts'],
  },
});

/** Tests that need real programs beside Node: OpenSSH, Mosquitto's clients, curl, Chromium, xrdp. `.ci/run` installs them. */
export default defineConfig({
  ...common,
  test: {
    ...common.test,
    projects: [
      {
        extends: true,
        test: { name: 'in pairs', include: IN_PAIRS, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['tests/system/*.test.ts'],
          exclude: IN_PAIRS,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
