import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { ClosedSessions, MAX_CLOSED_SESSIONS } from './closed-sessions.ts';

const DAY_MS = 24 * 3_600_000;

it('remembers a session for eight days, the newest 10,000 of them', async () => {
  const clock = new FakeClock();
  const closed = new ClosedSessions(() => clock.now());
  closed.add('a', 'lunch');
  await clock.advance(8 * DAY_MS - 1);
  expect([closed.get('a'), closed.get('b')]).toEqual(['lunch', undefined]);
  await clock.advance(1);
  expect(closed.get('a')).toBeUndefined();
  for (let index = 0; index < MAX_CLOSED_SESSIONS; index++) closed.add(`${index}`, 'x');
  closed.add('0', 'x');
  closed.add('more', 'x');
  expect(['0', '1', '2', 'more'].map((id) => closed.get(id) !== undefined)).toEqual([true, false, true, true]);
  expect(closed.size).toBe(MAX_CLOSED_SESSIONS);
});
