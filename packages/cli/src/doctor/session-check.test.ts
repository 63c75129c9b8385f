import { expect, it } from 'vitest';
import { sessionCheck } from './session-check.ts';

it('names a hub that is too old', () => {
  expect(sessionCheck({ kind: 'raw', reason: { why: 'hub_too_old' } })).toEqual({
    found: 'raw streams: the hub is too old for sessions',
    advice: 'Update the hub.',
    warning: true,
    data: { kind: 'raw', reason: 'hub_too_old' },
  });
});

it('says whether a session is encrypted', () => {
  const session = { kind: 'session', sessionId: 'ab'.repeat(16), version: 1, encrypted: true } as const;
  expect(sessionCheck(session).found).toBe('streams share a session (version 1), encrypted end to end');
});

it('does not guess where no stream was accepted', () => {
  expect(sessionCheck(undefined)).toMatchObject({ warning: true });
});
