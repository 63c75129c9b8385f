import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { ClosedSessions, MAX_CLOSED_SESSIONS } from './closed-sessions.ts';

const DAY_MS = 24 * 3_600_000;

it('remembers a session for eight days, the newest 10,000 of them', async () => {
  const clock = new FakeClock();
  const closed = new ClosedSessions(() => clock.now());
  closed.add('a');
  await clock.advance(8 * DAY_MS - 1);
  expect([closed.has('a'), closed.has('b')]).toEqual([true, false]);
  await clock.advance(1);
  expect(closed.has('a')).toBe(false);
  for (let index = 0; index < MAX_CLOSED_SESSIONS; index++) closed.add(`${index}`);
  closed.add('0');
  closed.add('more');
  expect(['0', '1', '2', 'more'].map((id) => closed.has(id))).toEqual([true, false, true, true]);
  expect(closed.size).toBe(MAX_CLOSED_SESSIONS);
});
