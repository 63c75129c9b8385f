import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { HubProcess } from '../support/hub-process.ts';
import { SessionEnds } from '../support/session-ends.ts';

const SLEEP_MS = 300_000;

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

test('a laptop sleeps for five minutes in the middle of a transfer: ssh goes on, and every byte arrives', async () => {
  const ends = await SessionEnds.start(cleanup, await HubProcess.start(cleanup));
  ends.signalLaptop('SIGSTOP');
  await sleep(SLEEP_MS);
  ends.signalLaptop('SIGCONT');
  await ends.expectGoingOn();
  await ends.finish();
  ends.expectTold(1);
}, 900_000);
