import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { ROOT } from './support/culvert.ts';
import { freePort } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { SessionEnds } from './support/session-ends.ts';

/** A module that makes the gateway threads of a hub fail on SIGUSR2. */
const FAILING_THREADS = pathToFileURL(join(ROOT, 'tests/system/programs/failing-gateway-threads.mjs')).href;

describe('ssh goes on, and every byte of a transfer both ways arrives', () => {
  const cleanup = new Cleanup();
  afterAll(() => cleanup.run());

  test('when a hub with its gateway is killed and started again, twice, and then told to restart', async () => {
    const hub = await HubProcess.start(cleanup);
    const ends = await SessionEnds.start(cleanup, hub);
    for (const signal of ['SIGKILL', 'SIGKILL', 'SIGTERM'] as const) {
      await hub.stop(signal);
      await hub.start();
      await ends.expectGoingOn();
    }
    await ends.finish();
    ends.expectTold(3);
  });

  test('when a hub loses all its gateway threads, and then is killed with them', async () => {
    const hub = await HubProcess.start(cleanup, {
      config: { gatewayThreads: 2, gatewayListen: `127.0.0.1:${await freePort()}` },
      env: { NODE_OPTIONS: `--import=${FAILING_THREADS}` },
    });
    const ends = await SessionEnds.start(cleanup, hub);
    hub.program.signal('SIGUSR2');
    for (const thread of [0, 1])
      await hub.program.waitFor(new RegExp(`"thread":${thread}.*"msg":"gateway-thread-replaced"`));
    for (const program of [ends.connect, ends.ssh]) await program.waitFor(/the link to field is back/);
    await ends.expectGoingOn();
    await hub.stop('SIGKILL');
    await hub.start();
    await ends.expectGoingOn();
    await ends.finish();
    ends.expectTold(2);
  });
});
