import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { testCertificate } from '@culvert/testkit';
import { afterEach, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { nodeFromNpm } from './support/node-from-npm.ts';
import { run } from './support/program.ts';
import { scratch } from './support/scratch.ts';

const FIXTURE = resolve(import.meta.dirname, '../../packages/stream/src/destroy-connection.fixture.ts');

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** The exit code that a shell reports for SIGSEGV. */
const SEGMENTATION_FAULT = 139;

/**
 * Checks the bug in Node that `destroyConnection` works around: a crash in `TLSWrap::ClearOut` of a TLS connection that is destroyed after the connection
 * below it. The test warns when a version of Node has fixed the bug; once all have, `destroyConnection` can be removed.
 */
test.each(['22', '24', '26'])('the connection below TLS first kills Node %s; our order does not', async (version) => {
  const node = await nodeFromNpm(cleanup, version);
  const directory = scratch(cleanup);
  const { cert, key } = await testCertificate();
  const files = [join(directory, 'cert.pem'), join(directory, 'key.pem')] as const;
  writeFileSync(files[0], cert);
  writeFileSync(files[1], key);
  // The crashes are expected, so core dumps are disabled.
  const end = (way: string, moment: string) =>
    run('/bin/sh', ['-c', 'ulimit -c 0; "$@"', 'sh', node, FIXTURE, way, moment, ...files], { cwd: directory });
  for (const moment of ['event', 'tick', 'promise']) {
    const safe = await end('safe', moment);
    expect({ moment, code: safe.code, stdout: safe.stdout }).toEqual({ moment, code: 0, stdout: 'survived\n' });
    const { code, stdout } = await end('unsafe', moment);
    if (code === 0 && stdout === 'survived\n') {
      console.warn(`Node ${version} survives the unsafe order (${moment}): its fault is mended there.`);
    } else {
      expect({ moment, code }).toEqual({ moment, code: SEGMENTATION_FAULT });
    }
  }
});
