// Must be the first import: the dependency injection inside x509 does not load without it.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import {
  type CertificateOptions,
  CLIENT_AUTHENTICATION,
  type DeviceCertificate,
  deviceCertificate,
  deviceCertificateOf,
  SERVER_AUTHENTICATION,
  type TestAuthority,
  testAuthority,
} from '@culvert/testkit';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Authentication } from '../registry/registry.ts';
import { authorityProof, thumbprintProof } from './certificate-proof.ts';
import type { ClientCertificate } from './client-certificate.ts';

const now = Date.now();
const SECOND = 1_000;
const HOUR = 3_600_000;
const at = (offset: number) => new Date(Math.floor((now + offset) / SECOND) * SECOND);

let root: TestAuthority;
let issuing: TestAuthority;
beforeAll(async () => {
  root = await testAuthority('Root', { notAfter: at(48 * HOUR) });
  issuing = await testAuthority('Issuing', { issuer: root });
});

/** The device's certificate as the hub would receive it in TLS. */
function shown({ cert, sha1, sha256 }: DeviceCertificate): ClientCertificate {
  const [certificate, ...sent] = cert
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter((pem) => pem.trim() !== '')
    .map((pem) => new X509Certificate(pem));
  if (certificate === undefined) throw new Error('no certificate');
  const { CN: commonName } = certificate.toLegacyObject().subject;
  return { certificate, sent, commonName: typeof commonName === 'string' ? commonName : undefined, sha1, sha256 };
}

function prove(
  device: DeviceCertificate,
  options: {
    authentication?: Authentication | 'nobody';
    authorities?: TestAuthority[];
    moduleId?: string;
    now?: number;
  } = {},
) {
  const { authentication = { type: 'certificateAuthority' }, authorities = [root], moduleId } = options;
  const registered = authentication === 'nobody' ? undefined : authentication;
  const time = options.now ?? now;
  return (
    thumbprintProof(shown(device), registered, time) ??
    authorityProof(shown(device), {
      identity: { deviceId: 'd1', moduleId },
      authentication: registered,
      authorities: authorities.map(({ certificate }) => new X509Certificate(certificate)),
      now: time,
    })
  );
}

const sha256 = ({ certificate }: TestAuthority) => new X509Certificate(certificate).fingerprint256.replaceAll(':', '');
const refusal = (prove: () => unknown): string => {
  try {
    prove();
  } catch (error) {
    expect(error).toMatchObject({ code: 'unauthorized' });
    return (error as Error).message;
  }
  return 'taken';
};
const NOBODY_VOUCHES = 'The certificate is not registered, and no registered certificate authority vouches for it.';

describe('a certificate known by its thumbprint', () => {
  const known = (primaryThumbprint: string, secondaryThumbprint = ''): Authentication => ({
    type: 'selfSigned',
    primaryThumbprint,
    secondaryThumbprint,
  });

  it('is taken by either form of it, in either place, until it expires', async () => {
    const device = await deviceCertificate('whatever', { notAfter: at(HOUR) });
    const other = 'A'.repeat(64);
    for (const authentication of [
      known(device.sha1),
      known(device.sha256),
      known('', device.sha1),
      known(other, device.sha256),
    ]) {
      expect(prove(device, { authentication })).toEqual({
        proof: { kind: 'thumbprint', sha1: device.sha1, sha256: device.sha256 },
        expiresAt: at(HOUR).getTime(),
      });
    }
    expect(refusal(() => prove(device, { authentication: known(other, 'B'.repeat(40)) }))).toBe(NOBODY_VOUCHES);
  });

  it('may be one of an authority, or one that says nothing of its use; not one for other uses', async () => {
    const issued = await deviceCertificate('x', { authority: issuing });
    expect(prove(issued, { authentication: known(issued.sha256) }).proof.kind).toBe('thumbprint');
    const plain = await deviceCertificate('x', { usages: [] });
    expect(prove(plain, { authentication: known(plain.sha256) }).proof.kind).toBe('thumbprint');
    const server = await deviceCertificate('x', { usages: [SERVER_AUTHENTICATION] });
    expect(refusal(() => prove(server, { authentication: known(server.sha256) }))).toMatch(/client authentication/);
  });

  it('is refused before and after its time', async () => {
    const device = await deviceCertificate('x', { notBefore: at(0), notAfter: at(HOUR) });
    const authentication = known(device.sha256);
    const when = (offset: number) => refusal(() => prove(device, { authentication, now: at(offset).getTime() }));
    expect([when(-SECOND), when(0), when(HOUR), when(HOUR + SECOND)]).toEqual([
      'The certificate is not valid yet.',
      'taken',
      'taken',
      'The certificate has expired.',
    ]);
  });
});

describe('whoever is refused', () => {
  const keys = { primaryKey: Buffer.alloc(32).toString('base64'), secondaryKey: '' };
  const registered: (Authentication | 'nobody')[] = [
    'nobody',
    { type: 'none' },
    { type: 'sas', ...keys },
    { type: 'selfSigned', primaryThumbprint: 'A'.repeat(40), secondaryThumbprint: '' },
    { type: 'certificateAuthority' },
  ];

  it.each<[string, () => Promise<DeviceCertificate>, string]>([
    ['no authority', () => deviceCertificate('d1'), NOBODY_VOUCHES],
    ['no time left', () => deviceCertificate('d1', { notAfter: at(-SECOND) }), 'The certificate has expired.'],
    [
      'another use',
      () => deviceCertificate('d1', { authority: root, usages: [SERVER_AUTHENTICATION] }),
      'The certificate is not made for client authentication (extended key usage).',
    ],
    [
      'another name',
      () => deviceCertificate('d2', { authority: root }),
      'The certificate is not for this name: its common name is not the device id.',
    ],
  ])('with %s learns nothing of what is registered', async (_what, make, message) => {
    const device = await make();
    for (const authentication of registered) expect(refusal(() => prove(device, { authentication }))).toBe(message);
  });

  it('has a right certificate for what is known by other things, or not at all', async () => {
    const device = await deviceCertificate('d1', { authority: root });
    expect(registered.map((authentication) => refusal(() => prove(device, { authentication })))).toEqual([
      ...Array(4).fill('The credential was not accepted.'),
      'taken',
    ]);
  });
});

describe('a certificate of an authority', () => {
  const direct = (options: CertificateOptions = {}) => deviceCertificate('d1', { authority: root, ...options });
  const verdict = (device: DeviceCertificate, authorities = [root]) => refusal(() => prove(device, { authorities }));

  it('is taken, directly and through those it sends along, until the first of the chain expires', async () => {
    const proof = { kind: 'authority', authorities: [sha256(root)] };
    expect(prove(await direct({ notAfter: at(2 * HOUR) }))).toEqual({ proof, expiresAt: at(2 * HOUR).getTime() });
    const short = await testAuthority('Short', { issuer: issuing, notAfter: at(HOUR) });
    expect(prove(await deviceCertificate('d1', { authority: short }))).toEqual({
      proof,
      expiresAt: at(HOUR).getTime(),
    });
  });

  it('is taken by an authority that is no root itself, whether it is sent along or not', async () => {
    const device = await deviceCertificate('d1', { authority: issuing });
    const alone = { ...device, cert: device.cert.replace(issuing.chain, '') };
    expect(verdict(alone)).toBe(NOBODY_VOUCHES);
    for (const one of [device, alone]) {
      const { proof } = prove(one, { authorities: [issuing] });
      expect(proof).toMatchObject({ authorities: [sha256(issuing)] });
    }
    expect(prove(device, { authorities: [issuing, root] }).proof).toMatchObject({
      authorities: [sha256(issuing), sha256(root)],
    });
  });

  it('is refused by any other, also one of the same name', async () => {
    const namesake = await testAuthority('Root');
    expect(verdict(await direct(), [])).toBe(NOBODY_VOUCHES);
    expect(verdict(await direct(), [namesake, await testAuthority('Other')])).toBe(NOBODY_VOUCHES);
    // The client also sends the certificate of its own authority.
    const own = await testAuthority('Own');
    const device = await deviceCertificate('d1', { authority: own });
    expect(verdict({ ...device, cert: device.cert + own.certificate })).toBe(NOBODY_VOUCHES);
  });

  it('is refused when its common name is not the device id, exactly', async () => {
    const wrong = 'The certificate is not for this name: its common name is not the device id.';
    for (const name of ['d2', 'D1', 'd1 ', 'd1/m1', 'd1\0', '']) {
      const device = await deviceCertificateOf([{ CN: [name] }], { authority: root });
      expect(verdict(device), JSON.stringify(name)).toBe(wrong);
    }
    expect(verdict(await deviceCertificateOf([{ O: ['d1'] }], { authority: root }))).toBe(wrong);
    expect(verdict(await deviceCertificateOf([{ CN: ['d1'] }, { CN: ['d1'] }], { authority: root }))).toBe(wrong);
    expect(verdict(await deviceCertificateOf([{ O: ['Plant'] }, { CN: ['d1'] }], { authority: root }))).toBe('taken');
  });

  it('of a module bears the name of its device and its own', async () => {
    const named = async (name: string) => {
      const device = await deviceCertificate(name, { authority: root });
      return refusal(() => prove(device, { moduleId: 'm1' }));
    };
    const wrong = 'The certificate is not for this name: its common name is not DEVICE/MODULE.';
    expect([await named('d1/m1'), await named('d1'), await named('m1'), await named('d1/m2')]).toEqual([
      'taken',
      wrong,
      wrong,
      wrong,
    ]);
  });

  it.each<[string, string[], RegExp]>([
    ['none', [], /not made for client authentication/],
    ['servers', [SERVER_AUTHENTICATION], /not made for client authentication/],
    ['any', ['2.5.29.37.0'], /not made for client authentication/],
    ['clients among others', [SERVER_AUTHENTICATION, CLIENT_AUTHENTICATION], /^taken$/],
  ])('is for client authentication: one for %s', async (_what, usages, message) => {
    expect(verdict(await direct({ usages }))).toMatch(message);
  });

  it.each<[string, CertificateOptions, RegExp]>([
    ['a key for encryption alone', { keyUsages: x509.KeyUsageFlags.keyEncipherment }, /key usage/],
    ['a key for signing', { keyUsages: x509.KeyUsageFlags.digitalSignature }, /^taken$/],
    ['a signature with SHA-1', { hash: 'SHA-1' }, /algorithm/],
    ['an unknown critical extension', { extensions: [extension('1.2.3.4', true)] }, /critical extension/],
    ['an unknown extension that is not critical', { extensions: [extension('1.2.3.4', false)] }, /^taken$/],
    ['no life yet', { notBefore: at(HOUR) }, /not valid yet/],
    ['no life left', { notAfter: at(-SECOND) }, /expired/],
  ])('with %s', async (_what, options, message) => {
    expect(verdict(await direct(options))).toMatch(message);
  });

  it('with a weak key is refused', async () => {
    const keys = await rsaKeys(1024);
    expect(verdict(await direct({ keys }))).toMatch(/too weak/);
    expect(verdict(await direct({ keys: await rsaKeys(2048) }))).toBe('taken');
  });
});

describe('those between a certificate and its authority', () => {
  const through = async (options: CertificateOptions, authority = root): Promise<string> => {
    const between = await testAuthority('Between', { issuer: authority, ...options });
    const device = await deviceCertificate('d1', { authority: between });
    return refusal(() => prove(device));
  };

  it.each<[string, CertificateOptions]>([
    ['no authority', { ca: false }],
    ['a device’s', { ca: false, keyUsages: x509.KeyUsageFlags.digitalSignature, usages: [CLIENT_AUTHENTICATION] }],
    ['no key to sign certificates', { keyUsages: x509.KeyUsageFlags.cRLSign }],
    ['another use', { usages: [SERVER_AUTHENTICATION] }],
    ['no life yet', { notBefore: at(HOUR) }],
    ['no life left', { notAfter: at(-SECOND) }],
    ['a signature with SHA-1', { hash: 'SHA-1' }],
    ['name constraints', { extensions: [extension('2.5.29.30', true, '30060a0430028200')] }],
    ['name constraints that are not critical', { extensions: [extension('2.5.29.30', false)] }],
    ['an unknown critical extension', { extensions: [extension('1.2.3.4', true)] }],
  ])('count for nothing with %s', async (_what, options) => {
    expect(await through(options)).toBe(NOBODY_VOUCHES);
  });

  it('may name their use', async () => {
    expect(await through({ usages: [CLIENT_AUTHENTICATION, SERVER_AUTHENTICATION] })).toBe('taken');
  });

  it('may be as many as those above allow', async () => {
    const lone = await testAuthority('Lone', { issuer: root, pathLength: 0 });
    const below = await testAuthority('Below', { issuer: lone });
    const ofLone = await deviceCertificate('d1', { authority: lone });
    const ofBelow = await deviceCertificate('d1', { authority: below });
    const verdict = (device: DeviceCertificate, authority: TestAuthority) =>
      refusal(() => prove(device, { authorities: [authority] }));
    expect(verdict(ofLone, root)).toBe('taken');
    expect(verdict(ofBelow, root)).toBe(NOBODY_VOUCHES);
    // The path length constraint of a registered authority applies too.
    expect(verdict(ofBelow, lone)).toBe(NOBODY_VOUCHES);
    expect(verdict(ofBelow, below)).toBe('taken');
  });

  it('may be sent in any order, with others among them, and twice', async () => {
    const last = await testAuthority('Last', { issuer: issuing });
    const device = await deviceCertificate('d1', { authority: last });
    const leaf = device.cert.replace(last.chain, '');
    const [a, b] = [last.certificate, issuing.certificate];
    const namesake = (await testAuthority('Issuing', { issuer: root })).certificate;
    for (const chain of [a + b, b + a, root.certificate + b + a, namesake + a + b, a + a + b + b]) {
      expect(refusal(() => prove({ ...device, cert: leaf + chain }))).toBe('taken');
    }
    expect(refusal(() => prove({ ...device, cert: leaf + namesake + a }))).toBe(NOBODY_VOUCHES);
  });
});

function extension(oid: string, critical: boolean, value = '0500'): x509.Extension {
  return new x509.Extension(oid, critical, Buffer.from(value, 'hex'));
}

function rsaKeys(modulusLength: number): Promise<webcrypto.CryptoKeyPair> {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}
