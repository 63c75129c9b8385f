import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startHub } from '@culvert/testkit';
import { afterEach, expect, it } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { node20 } from './support/node20.ts';
import { cleanEnvironment } from './support/program.ts';

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('./programs/both-sdks.mjs', import.meta.url));

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

it('both SDKs, as built, run on Node 20', async () => {
  const node = await node20(cleanup);
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
