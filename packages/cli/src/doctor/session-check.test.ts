import { parseFingerprint } from '@culvert/session/keys';
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
  const session = { kind: 'session', sessionId: 'ab'.repeat(16), version: 1 } as const;
  const [deviceKey, other] = ['A', 'B'].map((letter) => parseFingerprint(`SHA256:${letter.repeat(42)}A`));
  if (deviceKey === undefined || other === undefined) throw new Error('These are fingerprints.');
  const pin = { hub: 'hub', deviceId: 'press-7', fingerprint: deviceKey, since: '2026-11-29T00:00:00Z' };
  const encrypted = { ...session, encrypted: true, deviceKey };
  const start = 'streams share a session (version 1), encrypted end to end';
  expect(sessionCheck(encrypted)).toMatchObject({
    found: `${start}; the key of the device, ${deviceKey}, is not pinned yet`,
    data: { encrypted: 'yes', deviceKey },
  });
  expect(sessionCheck(encrypted, pin).found).toBe(
    `${start}; the key of the device, ${deviceKey}, is pinned since 2026-11-29T00:00:00Z`,
  );
  expect(sessionCheck(encrypted, { ...pin, fingerprint: other })).toMatchObject({
    found: `${start}, but the key of the device is ${deviceKey}, and ${other} is pinned`,
    warning: true,
    advice: expect.stringContaining('culvert trust forget'),
  });
  expect(sessionCheck({ ...session, encrypted: false }, pin)).toMatchObject({
    found: expect.stringContaining('not encrypted end to end, although the key'),
    warning: true,
  });
  expect(sessionCheck({ ...session, encrypted: false })).toMatchObject({
    found: 'streams share a session (version 1), not encrypted end to end',
    data: { encrypted: 'no' },
  });
});

it('does not guess where no stream was accepted', () => {
  expect(sessionCheck(undefined)).toMatchObject({ warning: true });
});
