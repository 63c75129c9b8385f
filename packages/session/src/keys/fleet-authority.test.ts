import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CLIENT_AUTHENTICATION,
  deviceCertificate,
  SERVER_AUTHENTICATION,
  type TestAuthority,
  testAuthority,
} from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EndKey } from './end-key.ts';
import { readFleetAuthorities } from './fleet-authority.ts';
import { established, type FleetKeyOptions, fleetKey, linkBoth, newKey } from './links.fixture.ts';
import { authorizedServiceCheck, fleetDeviceCheck } from './peer-checks.ts';

const device = { hub: 'hub.example.com', identity: { deviceId: 'press-7' } };
const module = { hub: 'hub.example.com:8443', identity: { deviceId: 'press-7', moduleId: 'plc' } };
const DAY_MS = 86_400_000;

let root: TestAuthority;
let plant: TestAuthority;
let stranger: TestAuthority;
let directory: string;
beforeAll(async () => {
  root = await testAuthority('fleet');
  plant = await testAuthority('plant', { issuer: root });
  stranger = await testAuthority('fleet');
  directory = mkdtempSync(join(tmpdir(), 'culvert-fleet-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Whether the service side takes a device's key, and if not, why. */
async function askService(key: EndKey, subject = device, authorities = [root.certificate]): Promise<string> {
  const both = await linkBoth({ authorities, check: fleetDeviceCheck(subject) }, { key });
  if (!(both.service instanceof Error)) return 'accepted';
  expect(both.service).toMatchObject({ code: 'key_refused' });
  return both.service.message;
}

const deviceKey = (options: Partial<FleetKeyOptions>) =>
  fleetKey({ authority: root, uris: ['culvert:/devices/press-7'], ...options });

describe('with a fleet authority, a device', () => {
  it('is accepted by its certificate, whatever its key', async () => {
    expect(await askService(await deviceKey({}))).toBe('accepted');
    expect(await askService(await deviceKey({}))).toBe('accepted');
  });

  it('may send the certificates between, and the authority need not be a root', async () => {
    const key = await deviceKey({ authority: plant });
    const other = await testAuthority('another fleet');
    expect(await askService(key)).toBe('accepted');
    expect(await askService(key, device, [plant.certificate])).toBe('accepted');
    expect(await askService(key, device, [other.certificate, root.certificate])).toBe('accepted');
  });

  it.each([
    [
      'without a certificate of it',
      async () => newKey(),
      /not one of the fleet authority \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    ],
    [
      'of another authority of the same name',
      () => deviceKey({ authority: stranger }),
      /not one of the fleet authority/,
    ],
    ['that is another device', () => deviceKey({ uris: ['culvert:/devices/press-8'] }), /does not name this device/],
    [
      'that is a module of it',
      () => deviceKey({ uris: ['culvert:/devices/press-7/modules/plc'] }),
      /does not name this/,
    ],
    [
      'at another hub',
      () => deviceKey({ uris: ['culvert://other.example.com/devices/press-7'] }),
      /does not name this/,
    ],
    ['that names any device', () => deviceKey({ uris: ['culvert:/devices/*'] }), /does not name this device/],
    ['that names nothing', () => deviceKey({ uris: [] }), /does not name this device/],
    ['in another scheme', () => deviceKey({ uris: ['https:/devices/press-7'] }), /does not name this device/],
    [
      'with the certificate of a service',
      () => deviceKey({ usages: [CLIENT_AUTHENTICATION] }),
      /or one above it is not for this use/,
    ],
    [
      'with a certificate for no use',
      () => deviceKey({ usages: [] }),
      /is not for a device \(extended key usage serverAuth\)/,
    ],
    [
      'whose certificate has expired',
      () => deviceKey({ notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) }),
      /has expired/,
    ],
    [
      'whose certificate is not valid yet',
      () => deviceKey({ notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) }),
      /not valid yet; set the clock/,
    ],
  ])('is refused %s', async (_name, make, message) => {
    expect(await askService(await make())).toMatch(message);
  });

  it('is refused below an authority that has expired, or may have none below it', async () => {
    const expired = await testAuthority('expired', {
      issuer: root,
      notBefore: new Date(0),
      notAfter: new Date(DAY_MS),
    });
    expect(await askService(await deviceKey({ authority: expired }))).toMatch(/has expired/);
    const narrow = await testAuthority('narrow', { pathLength: 0 });
    const below = await testAuthority('below', { issuer: narrow });
    expect(await askService(await deviceKey({ authority: below }), device, [narrow.certificate])).toMatch(
      /PATH_LENGTH/,
    );
    const noAuthority = await testAuthority('no authority', { issuer: root, ca: false });
    expect(await askService(await deviceKey({ authority: noAuthority }))).toMatch(/is not for this use/);
  });

  it('is named with its module, and by the hub or by none', async () => {
    const uri = 'culvert://HUB.example.com/devices/press-7/modules/plc';
    expect(await askService(await deviceKey({ uris: ['https://example.com/a,b', uri] }), module)).toBe('accepted');
    const v6 = { ...device, hub: '[fe80::1]:8443' };
    expect(await askService(await deviceKey({ uris: ['culvert://[FE80::1]/devices/press-7'] }), v6)).toBe('accepted');
    expect(await askService(await deviceKey({ uris: [uri] }), device)).toMatch(/does not name this device/);
    expect(await askService(await deviceKey({ uris: ['culvert:/devices/press-7'] }), module)).toMatch(/does not name/);
    expect(await askService(await deviceKey({ uris: ['culvert:///devices/press-7'] }))).toMatch(/does not name/);
  });

  it('has an id that is percent-encoded, or with characters that Node puts into quotes', async () => {
    const deviceId = "a#?,'=%";
    const subject = { ...device, identity: { deviceId } };
    expect(
      await askService(await deviceKey({ uris: [`culvert:/devices/${encodeURIComponent(deviceId)}`] }), subject),
    ).toBe('accepted');
    const quoted = { ...device, identity: { deviceId: "a,'b" } };
    expect(await askService(await deviceKey({ uris: ["culvert:/devices/a,'b"] }), quoted)).toBe('accepted');
    expect(
      await askService(await deviceKey({ uris: ['culvert:/devices/press-8, URI:culvert:/devices/press-7'] })),
    ).toMatch(/does not name/);
    expect(await askService(await deviceKey({ uris: ['culvert:/devices/%zz'] }))).toMatch(/does not name/);
  });
});

describe('with an authority in its authorised services, a device', () => {
  const askDevice = async (key: EndKey | undefined, subject = device): Promise<string> => {
    const authorized = { fingerprints: new Set([listed.fingerprint]), authorities: [root.certificate] };
    const check = authorizedServiceCheck(authorized, subject);
    const both = await linkBoth({ key }, { key: newKey(), authorities: authorized.authorities, check });
    if (!(both.device instanceof Error)) return 'accepted';
    expect(both.device).toMatchObject({ code: 'key_refused' });
    return both.device.message;
  };
  const listed = newKey();
  const serviceKey = (uri: string, options: Partial<FleetKeyOptions> = {}) =>
    fleetKey({ authority: root, uris: [uri], usages: [CLIENT_AUTHENTICATION], ...options });

  it('accepts services that name it or any device, and keys on the list', async () => {
    expect(await askDevice(await serviceKey('culvert:/devices/press-7'))).toBe('accepted');
    expect(await askDevice(await serviceKey('culvert:/devices/*', { authority: plant }))).toBe('accepted');
    expect(await askDevice(await serviceKey('culvert://hub.example.com/devices/*'))).toBe('accepted');
    expect(await askDevice(await serviceKey('culvert:/devices/*/modules/*'), module)).toBe('accepted');
    expect(await askDevice(await serviceKey('culvert:/devices/press-7/modules/*'), module)).toBe('accepted');
    expect(await askDevice(listed)).toBe('accepted');
  });

  it('refuses all others', async () => {
    expect(await askDevice(undefined)).toMatch(/has shown no key/);
    const other = newKey();
    expect(await askDevice(other)).toContain(
      `The key ${other.fingerprint} is not among the device's authorised services`,
    );
    expect(await askDevice(await serviceKey('culvert:/devices/press-8'))).toMatch(/does not name this device/);
    expect(await askDevice(await serviceKey('culvert:/devices/%2A'))).toMatch(/does not name this device/);
    expect(await askDevice(await serviceKey('culvert:/devices/*'), module)).toMatch(/does not name this device/);
    expect(await askDevice(await serviceKey('culvert:/devices/*/modules/*'))).toMatch(/does not name this device/);
    expect(await askDevice(await serviceKey('culvert:/devices/*', { authority: stranger }))).toMatch(
      /not one of the fleet/,
    );
    const wrongRole = await serviceKey('culvert:/devices/*', { usages: [SERVER_AUTHENTICATION] });
    expect(await askDevice(wrongRole)).toMatch(/is not for this use/);
    const expired = { notBefore: new Date(0), notAfter: new Date(DAY_MS) };
    expect(await askDevice(await serviceKey('culvert:/devices/*', expired))).toMatch(/has expired/);
  });
});

describe('a file of fleet authorities', () => {
  const write = (text: string): string => {
    const path = join(directory, 'fleet.pem');
    writeFileSync(path, text);
    return path;
  };

  it('has one or more certificates', async () => {
    expect(await readFleetAuthorities(write(`old\n${root.certificate}\n${plant.certificate}`))).toHaveLength(2);
  });

  it('is refused in one line when it is missing, empty, broken, too long, or not of authorities', async () => {
    const { cert } = await deviceCertificate('press-7', { authority: root });
    const broken = root.certificate.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
    for (const [text, message] of [
      ['', /holds no certificate/],
      [cert, /certificate 1 in .* is not that of an authority/],
      [`${root.certificate}${broken}`, /certificate 2 in .* cannot be read/],
      [root.certificate.repeat(17), /more than 16/],
    ] as const)
      await expect(readFleetAuthorities(write(text))).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringMatching(message),
      });
    await expect(readFleetAuthorities(join(directory, 'none.pem'))).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/there is no such file/),
    });
  });

  it('is not needed for a link whose check does not ask for it', async () => {
    const both = established(await linkBoth({ authorities: [root.certificate] }, { key: newKey() }));
    expect(both.service.peer.pathFault).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    const without = established(await linkBoth({}, { key: newKey() }));
    expect(without.service.peer.pathFault).toBeDefined();
  });
});
