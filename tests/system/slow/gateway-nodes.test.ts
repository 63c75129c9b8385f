import { resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { nodeFromNpm } from '../support/node-from-npm.ts';
import { cleanEnvironment, run } from '../support/program.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const TESTS = ['reused-read-buffer', 'differential', 'memory'].map((name) => `packages/gateway/src/${name}.test.ts`);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** The reused read buffer relies on internals of Node: tested on the oldest version that the hub supports and the newest version of each later release line. */
test.each(['22.19.0', '22', '24', '26'])("the gateway's fast way and its plain one on Node %s", async (version) => {
  const node = await nodeFromNpm(cleanup, version);
  const { code, stdout, stderr } = await run(node, ['node_modules/vitest/vitest.mjs', 'run', ...TESTS], {
    cwd: ROOT,
    env: cleanEnvironment(),
  });
  expect({ code, said: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, said: '' });
});
