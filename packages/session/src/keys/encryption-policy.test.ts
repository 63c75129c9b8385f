import { describe, expect, it } from 'vitest';
import { type DeviceSituation, decideForDevice, decideForService, type StreamMode } from './encryption-policy.ts';

const MODES: readonly StreamMode[] = ['raw', 'session', 'encrypted-session'];

describe('the service side', () => {
  // Every combination: what it knows of the device, the override, and the reply.
  const rows = [
    ['none', false, 'raw', 'go-on-unencrypted'],
    ['none', false, 'session', 'go-on-unencrypted'],
    ['none', false, 'encrypted-session', 'encrypt'],
    ['none', true, 'raw', 'go-on-unencrypted'],
    ['none', true, 'session', 'go-on-unencrypted'],
    ['none', true, 'encrypted-session', 'encrypt'],
    ['pin', false, 'raw', 'refuse'],
    ['pin', false, 'session', 'refuse'],
    ['pin', false, 'encrypted-session', 'encrypt'],
    ['pin', true, 'raw', 'go-on-unencrypted'],
    ['pin', true, 'session', 'go-on-unencrypted'],
    ['pin', true, 'encrypted-session', 'encrypt'],
    ['authority', false, 'raw', 'refuse'],
    ['authority', false, 'session', 'refuse'],
    ['authority', false, 'encrypted-session', 'encrypt'],
    ['authority', true, 'raw', 'go-on-unencrypted'],
    ['authority', true, 'session', 'go-on-unencrypted'],
    ['authority', true, 'encrypted-session', 'encrypt'],
  ] as const;
  const names = { device: 'press-7 at hub.example.com', override: '--allow-unencrypted' };

  it.each(rows)(
    'that has %s for the device, override %s, and gets %s: %s',
    (trust, allowUnencrypted, reply, action) => {
      const decision = decideForService({ trust, allowUnencrypted, reply, ...names });
      expect(decision.action).toBe(action);
      if (decision.action === 'encrypt') return;
      const line = decision.action === 'go-on-unencrypted' ? decision.warning : decision.message;
      expect(line).toContain('press-7 at hub.example.com');
      expect(line).not.toContain('\n');
      if (decision.action === 'refuse') expect(line).toContain('--allow-unencrypted');
      else expect(line).toContain('the hub can read and change what is sent');
    },
  );

  it.each(
    (['session', 'encrypted-session'] as const).flatMap((existing) => MODES.map((reply) => [existing, reply] as const)),
  )(
    'that has a session in mode %s and gets %s for its next link keeps the mode, whatever else it knows',
    (existing, reply) => {
      for (const [trust, allowUnencrypted] of rows) {
        const { action } = decideForService({ trust, allowUnencrypted, reply, existing, ...names });
        const same = existing === 'session' ? 'go-on-unencrypted' : 'encrypt';
        expect(action).toBe(reply === existing ? same : 'drop-link');
      }
    },
  );
});

describe('a device', () => {
  const plain: DeviceSituation = {
    hasAuthorizedServices: false,
    requireEncryption: false,
    hasKey: true,
    offer: 'raw',
    name: 'ssh',
  };
  const yes = 'accept';
  const no = 'reject';

  // Whether it lists authorised services, requires encryption, has a key; then what it does with each offer: raw, session, encrypted session.
  it.each([
    [false, false, false, [yes, yes, no]],
    [false, false, true, [yes, yes, yes]],
    [false, true, false, [no, no, no]],
    [false, true, true, [no, no, yes]],
    [true, false, false, [no, no, no]],
    [true, false, true, [no, no, yes]],
    [true, true, false, [no, no, no]],
    [true, true, true, [no, no, yes]],
  ])('with list %s, required %s, key %s', (hasAuthorizedServices, requireEncryption, hasKey, actions) => {
    for (const name of ['ssh', 'culvert-echo']) {
      const decisions = MODES.map((offer) =>
        decideForDevice({ hasAuthorizedServices, requireEncryption, hasKey, offer, name }),
      );
      expect(decisions.map(({ action }) => action)).toEqual(actions);
      for (const [index, decision] of decisions.entries()) {
        if (decision.action === 'accept') expect(decision.mode).toBe(MODES[index]);
        else {
          expect(decision.reason).toContain(name);
          expect(decision.reason).not.toContain('\n');
        }
      }
    }
  });

  it.each(
    (['session', 'encrypted-session'] as const).flatMap((existing) => MODES.map((offer) => [existing, offer] as const)),
  )('that has a session in mode %s and is offered %s for its next link keeps the mode', (existing, offer) => {
    const decision = decideForDevice({ ...plain, existing, offer });
    if (offer === existing) expect(decision).toEqual({ action: 'accept', mode: offer });
    else expect(decision.action).toBe('reject');
  });

  it('that was reloaded with a requirement rejects the next link of an unencrypted session', () => {
    const decision = decideForDevice({ ...plain, requireEncryption: true, existing: 'session', offer: 'session' });
    expect(decision.action).toBe('reject');
  });
});
