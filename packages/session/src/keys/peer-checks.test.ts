import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceCertificate, FakeClock, testAuthority } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndKey } from './end-key.ts';
import { KnownDevices } from './known-devices.ts';
import { established, linkBoth, newKey } from './links.fixture.ts';
import { pinCheck, sameKeyCheck } from './peer-checks.ts';

const subject = { hub: 'hub.example.com', identity: { deviceId: 'press-7' } };

let directory: string;
let knownDevices: KnownDevices;
let firstUses: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-checks-'));
  knownDevices = new KnownDevices(join(directory, 'known_devices'), new FakeClock());
  firstUses = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const check = () => pinCheck({ subject, knownDevices, onFirstUse: (fingerprint) => firstUses.push(fingerprint) });

describe('a pinned device', () => {
  it('is accepted and told of at first use, and accepted silently afterwards', async () => {
    const key = newKey();
    established(await linkBoth({ check: check() }, { key }));
    expect(firstUses).toEqual([key.fingerprint]);
    established(await linkBoth({ check: check() }, { key }));
    expect(firstUses).toHaveLength(1);
    expect(await knownDevices.list()).toMatchObject([{ deviceId: 'press-7', fingerprint: key.fingerprint }]);
  });

  it('with another key is refused with both fingerprints, and the pin stays', async () => {
    const [first, second] = [newKey(), newKey()];
    established(await linkBoth({ check: check() }, { key: first }));
    const { service } = await linkBoth({ check: check() }, { key: second });
    expect(service).toMatchObject({ code: 'key_changed' });
    expect(String(service)).toContain(first.fingerprint);
    expect(String(service)).toContain(second.fingerprint);
    established(await linkBoth({ check: check() }, { key: first }));
  });

  it('may have a certificate that has expired or is not valid yet, and one of any authority', async () => {
    const authority = await testAuthority('any');
    const dates = [
      { notBefore: new Date('1999-01-01'), notAfter: new Date('2000-01-01') },
      { notBefore: new Date('2090-01-01'), notAfter: new Date('2091-01-01') },
    ];
    for (const [index, validity] of dates.entries()) {
      const { cert, key: pem } = await deviceCertificate('any', { authority, ...validity });
      const key = parseEndKey(pem + cert, 'a test');
      const own = { ...subject, identity: { deviceId: `press-${index}` } };
      const pinned = pinCheck({ subject: own, knownDevices, onFirstUse: () => {} });
      established(await linkBoth({ check: pinned }, { key }));
      established(await linkBoth({ check: pinned }, { key }));
    }
  });
});

it('an end whose key differs from that of the session’s first link is refused', async () => {
  const [serviceKey, deviceKey] = [newKey(), newKey()];
  const same = { service: sameKeyCheck(deviceKey.fingerprint), device: sameKeyCheck(serviceKey.fingerprint) };
  established(await linkBoth({ key: serviceKey, check: same.service }, { key: deviceKey, check: same.device }));
  expect((await linkBoth({ key: serviceKey, check: same.service }, { key: newKey() })).service).toMatchObject({
    code: 'key_refused',
  });
  for (const key of [undefined, newKey()])
    expect((await linkBoth({ key }, { key: deviceKey, check: same.device })).device).toMatchObject({
      code: 'key_refused',
    });
  // A session that began without a key at the service does not get one later.
  const nobody = sameKeyCheck(undefined);
  expect((await linkBoth({ key: serviceKey }, { key: deviceKey, check: nobody })).device).toMatchObject({
    code: 'key_refused',
  });
  established(await linkBoth({}, { key: deviceKey, check: nobody }));
});
