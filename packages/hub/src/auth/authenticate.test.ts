import { createHmac, randomBytes } from 'node:crypto';
import { identityName, signSasToken } from '@culvert/protocol';
import { FakeClock, sampleDevice, sampleModule } from '@culvert/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IdentityRecord, PolicyRecord } from '../registry/registry.ts';
import { Authenticator } from './authenticate.ts';
import { keyDigest } from './key-digest.ts';

const key = () => randomBytes(32).toString('base64');
const HUB = 'hub.example';
const clock = new FakeClock(1_700_000_000_000);
const NOW = 1_700_000_000;
const SKEW = 300;

const devices = new Map<string, IdentityRecord>();
const policies = new Map<string, PolicyRecord>();
function device(
  deviceId: string,
  over: Partial<IdentityRecord> = {},
  keys = { primaryKey: key(), secondaryKey: key() },
) {
  const authentication = { type: 'sas', ...keys } as const;
  devices.set(deviceId, { ...sampleDevice(deviceId), authentication, etag: 'e', ...over });
  return { ...sampleDevice(deviceId), ...keys };
}
function policy(name: string, permissions: PolicyRecord['permissions']): PolicyRecord {
  const record = { name, permissions, primaryKey: key(), secondaryKey: key() };
  policies.set(name, record);
  return record;
}
const d1 = device('d1');
const odd = device("a#b%c(d);$'");
const off = device('off', { status: 'disabled' });
const empty = device('empty', {}, { primaryKey: '', secondaryKey: '' });
const service = policy('service', ['ServiceConnect']);
const speaker = policy('device', ['DeviceConnect']);

const found = <T>(record: T | undefined) => ({ record, refused: async () => undefined });

const authenticator = new Authenticator({
  registry: {
    get: async (identity) => devices.get(identityName(identity)),
    lookup: async (identity) => found(devices.get(identityName(identity))),
  },
  authorities: { list: async () => [] },
  policies: { lookup: async (name) => found(policies.get(name)) },
  audiences: [HUB, `${HUB}:8443`, '127.0.0.1', '[::1]:8443'],
  clock,
});

/** The signature of a token over exactly this audience and expiry, percent-encoded. */
const sign = (sr: string, se: number | string, with_: string) =>
  encodeURIComponent(createHmac('sha256', Buffer.from(with_, 'base64')).update(`${sr}\n${se}`).digest('base64'));
const token = (sr: string, with_: string, se = NOW + 60) =>
  `SharedAccessSignature sr=${sr}&sig=${sign(sr, se, with_)}&se=${se}`;

const asD1 = (text: string) =>
  authenticator.authenticateSas(text, { path: 'devices/d1', identity: { deviceId: 'd1' } });
const connects = (token: string, deviceId: string) =>
  authenticator.authenticateDevice({ identity: { deviceId }, token, certificate: undefined });
const opens = (text: string) => asD1(text).then(({ name }) => name);
const refused = (promise: Promise<unknown>, code: string) => expect(promise).rejects.toMatchObject({ code });

describe("a device's token", () => {
  it('proves who it is, by either key', async () => {
    for (const used of [d1.primaryKey, d1.secondaryKey]) {
      const principal = await asD1(token(`${HUB}/devices/d1`, used));
      expect(principal).toEqual({
        name: 'device:d1',
        permissions: new Set(['DeviceConnect']),
        identity: { deviceId: 'd1' },
        proof: {
          kind: 'key',
          owner: { kind: 'identity', deviceId: 'd1', generationId: d1.generationId },
          keyDigest: keyDigest(used),
        },
        expiresAt: (NOW + 60 + SKEW) * 1000,
      });
    }
    await refused(asD1(token(`${HUB}/devices/d1`, key())), 'unauthorized');
  });

  it.each([
    'hub.example/devices/d1',
    'hub.example%2Fdevices%2Fd1',
    'hub.example%2fdevices%2fd1',
    'hub.example%2fdevices%2Fd1',
    'HUB.Example/devices/d1',
    'hub.example:8443/devices/d1',
    'hub.example%3A8443%2Fdevices%2Fd1',
    '127.0.0.1/devices/d1',
    '[::1]:8443/devices/d1',
    'hub.example/devices/d1/',
    'hub.example/devices',
    'hub.example',
  ])('is taken with the audience %s, signed as it stands', async (sr) => {
    expect(await opens(token(sr, d1.primaryKey))).toBe('device:d1');
  });

  it.each([
    'hub.example/devices/d',
    'hub.example/devices/D1',
    'hub.example/Devices/d1',
    'hub.example/devices/d11',
    'hub.example/devices/d1/modules/m',
    'hub.example/devices/d2',
    'hub.exampl',
    'example',
    'hub.example.evil',
    'other.example/devices/d1',
    'hub.example:443/devices/d1',
    'hub.example/twins/d1',
    'hub.example//devices/d1',
    '/',
    'hub.example%2',
  ])('is refused with the audience %s', (sr) => refused(asD1(token(sr, d1.primaryKey)), 'unauthorized'));

  it('is refused when the audience was signed in another spelling than it stands', async () => {
    const se = NOW + 60;
    const spellings = ['hub.example/devices/d1', 'hub.example%2Fdevices%2Fd1', 'hub.example%2fdevices%2fd1'];
    for (const signed of spellings) {
      for (const sent of spellings.filter((spelling) => spelling !== signed)) {
        const text = `SharedAccessSignature sr=${sent}&sig=${sign(signed, se, d1.primaryKey)}&se=${se}`;
        await refused(asD1(text), 'unauthorized');
      }
    }
  });

  it('is taken with its fields in any order, skn absent or empty, escapes in either case', async () => {
    const [sr, se] = [`${HUB}/devices/d1`, NOW + 60];
    const sig = sign(sr, se, d1.primaryKey);
    const lower = sig.replace(/%[0-9A-F]{2}/g, (digits) => digits.toLowerCase());
    for (const fields of [
      [`sr=${sr}`, `sig=${lower}`, `se=${se}`],
      [`se=${se}`, `sr=${sr}`, `sig=${sig}`],
      [`sr=${sr}`, `sig=${sig}`, `se=${se}`, 'skn='],
      ['skn=', `sig=${sig}`, `se=${se}`, `sr=${sr}`],
    ]) {
      expect(await opens(`SharedAccessSignature ${fields.join('&')}`)).toBe('device:d1');
    }
  });

  it('is taken with an id that clients escape once more, and opens no other device', async () => {
    const id = odd.deviceId;
    const target = { path: `devices/${id}`, identity: { deviceId: id } };
    for (const sr of [
      encodeURIComponent(`${HUB}/devices/${id}`),
      encodeURIComponent(`${HUB}/devices/${encodeURIComponent(id)}`),
      `${HUB}/devices/${encodeURIComponent(id)}`,
    ]) {
      const principal = await authenticator.authenticateSas(token(sr, odd.primaryKey), target);
      expect(principal.identity?.deviceId).toBe(id);
      await refused(asD1(token(sr, odd.primaryKey)), 'unauthorized');
    }
  });

  it('opens neither another device nor what no device may have', async () => {
    const text = token(HUB, d1.primaryKey);
    await refused(
      authenticator.authenticateSas(text, { path: 'devices/off', identity: { deviceId: 'off' } }),
      'unauthorized',
    );
    await refused(authenticator.authenticateSas(text, { path: 'devices' }), 'unauthorized');
    await refused(asD1(token(`${HUB}/devices/d1`, service.primaryKey)), 'unauthorized');
  });

  it('tells who does not hold the key nothing of the device', async () => {
    const nobody = { path: 'devices/nobody', identity: { deviceId: 'nobody' } };
    const messages = await Promise.all([
      authenticator.authenticateSas(token(HUB, key()), nobody).catch((error: Error) => error),
      authenticator.authenticateSas(token(HUB, `${'A'.repeat(43)}=`), nobody).catch((error: Error) => error),
      asD1(token(HUB, key())).catch((error: Error) => error),
      authenticator
        .authenticateSas(token(HUB, key()), { path: 'devices/off', identity: { deviceId: 'off' } })
        .catch((error: Error) => error),
      authenticator.authenticateSas(`${token(HUB, key())}&skn=nobody`, nobody).catch((error: Error) => error),
      authenticator.authenticateSas(`${token(HUB, key())}&skn=service`, nobody).catch((error: Error) => error),
    ]);
    expect(new Set(messages.map(String)).size).toBe(1);
    expect(messages[0]).toMatchObject({ code: 'unauthorized' });
    const target = { path: 'devices/off', identity: { deviceId: 'off' } };
    await refused(authenticator.authenticateSas(token(HUB, off.primaryKey), target), 'device_disabled');
  });

  it('never verifies with an empty key', () =>
    refused(
      authenticator.authenticateSas(token(HUB, empty.primaryKey), {
        path: 'devices/empty',
        identity: { deviceId: 'empty' },
      }),
      'unauthorized',
    ));

  it('is taken until five minutes after its expiry', async () => {
    const sr = `${HUB}/devices/d1`;
    expect(await opens(token(sr, d1.primaryKey, NOW - SKEW))).toBe('device:d1');
    await refused(asD1(token(sr, d1.primaryKey, NOW - SKEW - 1)), 'token_expired');
    expect((await asD1(token(sr, d1.primaryKey, 999_999_999_999_999))).expiresAt).toBe(Number.MAX_SAFE_INTEGER);
  });

  it.each([
    '',
    'SharedAccessSignature',
    'SharedAccessSignature ',
    'Bearer x',
    'SharedAccessSignature  sr=a&sig=b&se=1',
    'sharedaccesssignature sr=a&sig=b&se=1',
    'SharedAccessSignature sr=hub.example&sig=%%%&se=1',
    'SharedAccessSignature sr=hub.example&sig=%ff&se=1',
    'SharedAccessSignature sr=hub.example&sig=AAAA&se=-1',
    'SharedAccessSignature sr=hub.example&sig=AAAA&se=1e3',
    'SharedAccessSignature sr=hub.example&sr=hub.example&sig=AAAA&se=1',
    'SharedAccessSignature sr=hub.example&sig=&se=1',
  ])('is refused when malformed: %s', (text) => refused(asD1(text), 'unauthorized'));

  it('is refused when it is longer than any real one', () =>
    refused(asD1(`SharedAccessSignature sr=${'a'.repeat(5_000)}&sig=AAAA&se=1`), 'unauthorized'));
});

describe("a device's key for a module", () => {
  const target = (moduleId: string) => {
    const identity = { deviceId: 'd1', moduleId };
    return { path: `devices/d1/modules/${moduleId}`, identity };
  };
  const module = (moduleId: string, over: Partial<IdentityRecord> = {}) => {
    const record = { ...sampleModule('d1', moduleId), etag: 'e', ...over };
    devices.set(`d1/${moduleId}`, record);
    return record;
  };
  const enters = (sr: string, moduleId: string, with_ = d1.primaryKey) =>
    authenticator.authenticateSas(token(sr, with_), target(moduleId));

  it('proves the module that the token names, and is told as the device’s', async () => {
    const { generationId } = module('m');
    for (const used of [d1.primaryKey, d1.secondaryKey]) {
      expect(await enters(`${HUB}/devices/d1/modules/m`, 'm', used)).toEqual({
        name: 'device:d1',
        permissions: new Set(['DeviceConnect']),
        identity: { deviceId: 'd1', moduleId: 'm' },
        proof: {
          kind: 'key',
          owner: { kind: 'identity', deviceId: 'd1', moduleId: undefined, generationId: d1.generationId },
          keyDigest: keyDigest(used),
          module: { kind: 'identity', deviceId: 'd1', moduleId: 'm', generationId },
        },
        expiresAt: (NOW + 60 + SKEW) * 1000,
      });
    }
  });

  it.each([
    'hub.example',
    'hub.example/devices',
    'hub.example/devices/d1',
    'hub.example/devices/d1/modules',
    'hub.example/devices/d1/modules/n',
    'hub.example/devices/d1/modules/M',
    'hub.example/devices/d1/modules/m/x',
    'hub.example/devices/d2/modules/m',
  ])('opens nothing with the audience %s', async (sr) => {
    module('m');
    module('n');
    await refused(enters(sr, 'm'), 'unauthorized');
  });

  it('opens one module only, however its id is escaped', async () => {
    const ids = ['a:b', 'a%3Ab', 'a%253Ab'];
    for (const id of ids) module(id);
    for (const sr of ['a:b', 'a%3Ab', 'a%253Ab', 'a%25253Ab'].map((id) => `${HUB}/devices/d1/modules/${id}`)) {
      for (const spelling of [sr, encodeURIComponent(sr)]) {
        const opened = await Promise.allSettled(ids.map((id) => enters(spelling, id)));
        expect(opened.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(2);
      }
    }
    expect((await enters(encodeURIComponent(`${HUB}/devices/d1/modules/a%3Ab`), 'a:b')).name).toBe('device:d1');
  });

  it('is nothing to a module that is not registered or not known by keys, or to that of another device', async () => {
    const sr = (moduleId: string) => `${HUB}/devices/d1/modules/${moduleId}`;
    await refused(enters(sr('nobody'), 'nobody'), 'unauthorized');
    for (const type of ['none', 'certificateAuthority'] as const) {
      module(type, { authentication: { type } });
      await refused(enters(sr(type), type), 'unauthorized');
    }
    module('m');
    await refused(enters(sr('m'), 'm', odd.primaryKey), 'unauthorized');
    await refused(enters(sr('m'), 'm', service.primaryKey), 'unauthorized');
  });

  it('opens neither the device nor anything below it that is the device’s to open', async () => {
    module('m');
    const text = token(`${HUB}/devices/d1/modules/m`, d1.primaryKey);
    await refused(asD1(text), 'unauthorized');
    const rest = { path: 'devices/d1/modules/m', identity: { deviceId: 'd1' } };
    await refused(authenticator.authenticateSas(text, rest), 'unauthorized');
    expect((await authenticator.authenticateSas(token(`${HUB}/devices/d1`, d1.primaryKey), rest)).name).toBe(
      'device:d1',
    );
  });

  it('is of no use while the device is disabled, or known otherwise than by keys', async () => {
    const of = (deviceId: string, key: string) =>
      authenticator.authenticateSas(token(`${HUB}/devices/${deviceId}/modules/m`, key), {
        path: `devices/${deviceId}/modules/m`,
        identity: { deviceId, moduleId: 'm' },
      });
    devices.set('off/m', { ...sampleModule('off', 'm'), etag: 'e' });
    await refused(of('off', off.primaryKey), 'device_disabled');
    const shut = device('shut', { authentication: { type: 'none' } });
    devices.set('shut/m', { ...sampleModule('shut', 'm'), etag: 'e' });
    await refused(of('shut', shut.primaryKey), 'unauthorized');
  });
});

describe("a policy's token", () => {
  it('proves the policy, on any path its audience covers', async () => {
    const text = `${token(HUB, service.secondaryKey)}&skn=service`;
    const principal = await authenticator.authenticateSas(text, {
      path: 'twins/d1/streams/ssh',
      identity: { deviceId: 'nobody' },
    });
    expect(principal).toMatchObject({
      name: 'policy:service',
      identity: undefined,
      proof: { kind: 'key', owner: { kind: 'policy', policy: 'service' }, keyDigest: keyDigest(service.secondaryKey) },
    });
    expect([...principal.permissions]).toEqual(['ServiceConnect']);
    await refused(asD1(text.replace('skn=service', 'skn=device')), 'unauthorized');
  });

  it('scoped to one device is not stretched to a device whose id reads like it when unescaped', async () => {
    device('a%23b');
    const text = `${token(`${HUB}/devices/a%23b`, service.primaryKey)}&skn=service`;
    expect((await authenticator.authenticateSas(text, { path: 'devices/a%23b' })).name).toBe('policy:service');
    await refused(authenticator.authenticateSas(text, { path: 'devices/a#b' }), 'unauthorized');
  });

  it('may speak for a device that exists and is enabled when it has DeviceConnect', async () => {
    const text = `${token(HUB, speaker.primaryKey)}&skn=device`;
    expect((await connects(text, 'd1')).name).toBe('policy:device');
    await refused(connects(text, 'nobody'), 'unauthorized');
    await refused(connects(text, 'off'), 'device_disabled');
    const other = `${token(HUB, service.primaryKey)}&skn=service`;
    await refused(connects(other, 'd1'), 'forbidden');
    expect((await connects(token(HUB, d1.primaryKey), 'd1')).name).toBe('device:d1');
  });
});

describe('SAS tokens, whatever they hold', () => {
  const printable = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 128 });

  it('of the SDKs are taken by the device they are for', () =>
    fc.assert(
      fc.asyncProperty(printable, fc.uint8Array({ minLength: 16, maxLength: 64 }), async (deviceId, bytes) => {
        fc.pre(!deviceId.includes('/'));
        const primaryKey = Buffer.from(bytes).toString('base64');
        device(deviceId, {}, { primaryKey, secondaryKey: key() });
        const text = await signSasToken({ audience: `${HUB}/devices/${deviceId}`, key: primaryKey, expiry: NOW + 60 });
        const principal = await authenticator.authenticateSas(text, {
          path: `devices/${deviceId}`,
          identity: { deviceId },
        });
        expect(principal.identity?.deviceId).toBe(deviceId);
        device('d1', {}, d1);
      }),
    ));

  const caseOfEscape = (text: string, at: number) => /%[0-9a-f]?$/i.test(text.slice(Math.max(0, at - 2), at));

  it('are refused with any one character changed, put in or left out', async () => {
    const tokens = [
      token(`${HUB}/devices/d1`, d1.primaryKey),
      token('hub.example%2Fdevices%2Fd1', d1.secondaryKey),
      `${token(HUB, speaker.primaryKey)}&skn=device`,
    ];
    for (const text of tokens) expect((await asD1(text)).name).toMatch(/d1|device/);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...tokens),
        fc.nat(),
        fc.constantFrom('replace', 'insert', 'remove'),
        fc.oneof(
          fc.constantFrom(...'0123456789abcdefABCDEF%=+/&- '),
          fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 }),
        ),
        async (text, position, how, character) => {
          const at = position % text.length;
          const rest = text.slice(how === 'insert' ? at : at + 1);
          const mutated = text.slice(0, at) + (how === 'remove' ? '' : character) + rest;
          fc.pre(mutated !== text);
          // Upper and lower case of an escape in `sig` have the same meaning; in `sr` they do not.
          fc.pre(mutated.toLowerCase() !== text.toLowerCase() || !caseOfEscape(text, at) || at < text.indexOf('sig='));
          await expect(asD1(mutated)).rejects.toMatchObject({
            code: expect.stringMatching(/^(unauthorized|token_expired)$/),
          });
        },
      ),
      { numRuns: 5_000 },
    );
  });
});
