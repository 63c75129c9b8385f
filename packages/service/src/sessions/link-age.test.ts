import { PassThrough } from 'node:stream';
import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { type CountedDuplex, MAX_LINK_AGE_MS, MAX_LINK_BYTES, watchLinkAge } from './link-age.ts';

function watched() {
  const clock = new FakeClock();
  const counters = { bytesRead: 0, bytesWritten: 0 };
  let replaced = 0;
  const link: CountedDuplex = Object.assign(new PassThrough(), counters);
  watchLinkAge(link, clock, () => replaced++);
  return { clock, link, replaced: () => replaced };
}

it('a link is replaced after a day', async () => {
  const { clock, replaced } = watched();
  await clock.advance(MAX_LINK_AGE_MS - 1);
  expect(replaced()).toBe(0);
  await clock.advance(1);
  expect([replaced(), clock.timers]).toEqual([1, 0]);
});

it('a link is replaced within a minute after 64 GiB', async () => {
  const { clock, link, replaced } = watched();
  Object.assign(link, { bytesRead: MAX_LINK_BYTES - 2, bytesWritten: 1 });
  await clock.advance(60_000);
  expect(replaced()).toBe(0);
  Object.assign(link, { bytesWritten: 2 });
  await clock.advance(60_000);
  expect([replaced(), clock.timers]).toEqual([1, 0]);
});

it('a link that is gone is not watched', async () => {
  const { clock, link, replaced } = watched();
  const closed = new Promise((resolve) => link.once('close', resolve));
  link.destroy();
  await closed;
  expect(clock.timers).toBe(0);
  await clock.advance(MAX_LINK_AGE_MS);
  expect(replaced()).toBe(0);
});
