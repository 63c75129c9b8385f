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
  expect(() => sessionCheck(encrypted, { ...pin, fingerprint: other })).toThrow(
    expect.objectContaining({ code: 'key_changed', message: expect.stringContaining('culvert trust forget') }),
  );
  expect(sessionCheck({ ...session, encrypted: false })).toMatchObject({
    found: 'streams share a session (version 1), not encrypted end to end',
    advice: expect.stringContaining('no key'),
    warning: true,
    data: { encrypted: 'no' },
  });
  const raw = { kind: 'raw', reason: { why: 'not_announced' } } as const;
  for (const connection of [{ ...session, encrypted: false }, raw])
    expect(() => sessionCheck(connection, pin)).toThrow(
      expect.objectContaining({ code: 'encryption_required', message: expect.stringContaining(deviceKey) }),
    );
});

it('does not guess where no stream was accepted', () => {
  expect(sessionCheck(undefined)).toMatchObject({ warning: true });
});
