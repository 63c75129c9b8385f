import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { HubProcess } from './support/hub-process.ts';
import { SessionEnds } from './support/session-ends.ts';

/** Milliseconds of sleep. The slow test sleeps for five minutes. */
const SLEEP_MS = 20_000;

const cleanup = new Cleanup();
afterAll(() => cleanup.run());

test('a laptop sleeps for 20 s in the middle of a transfer: ssh goes on, and every byte arrives', async () => {
  const ends = await SessionEnds.start(cleanup, await HubProcess.start(cleanup));
  ends.signalLaptop('SIGSTOP');
  await sleep(SLEEP_MS);
  ends.signalLaptop('SIGCONT');
  await ends.expectGoingOn();
  await ends.finish();
  // A sleep as short as this need not cost the link.
  expect(`${ends.connect.stderr}${ends.ssh.stderr}`).not.toMatch(/failed|is over/);
});
