// Must be the first import: the dependency injection inside x509 does not load without it.
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { readCertificate } from './certificate-encoding.ts';
import { authorityFault, clientFault, lifeFault } from './certificate-rules.ts';

const BASIC_CONSTRAINTS = '2.5.29.19';
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

let keys: webcrypto.CryptoKeyPair;
beforeAll(async () => {
  keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
});

/** The DER of a self-signed certificate with these basic constraints; undefined: without extensions. */
async function certificate(basicConstraints?: string): Promise<Buffer> {
  const made = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=d1',
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 3_600_000),
      extensions:
        basicConstraints === undefined
          ? []
          : [new x509.Extension(BASIC_CONSTRAINTS, true, Buffer.from(basicConstraints, 'hex'))],
    },
    webcrypto,
  );
  return Buffer.from(made.rawData);
}

/** The DER with the bytes `from`, which must be in it once, replaced by `to`. */
function replaced(der: Buffer, from: string, to: string): Buffer {
  const text = der.toString('hex');
  expect(text.split(from)).toHaveLength(2);
  return Buffer.from(text.replace(from, to), 'hex');
}

const VERSION_3 = 'a003020102';
const CRITICAL_CONSTRAINTS = '551d130101ff';
const IS_AUTHORITY = '30030101ff';

/** The faults of a certificate: of its validity period, as a device's certificate, and as an authority's certificate. */
const faults = (der: Buffer) => {
  const read = new X509Certificate(der);
  return [lifeFault(read, Date.now()), clientFault(read), authorityFault(read)];
};
const UNREADABLE = Array(3).fill('has parts that cannot be read');

describe('a certificate', () => {
  it('is read with its basic constraints', async () => {
    const constraints = async (value?: string) => readCertificate(await certificate(value)).basicConstraints;
    expect([
      await constraints(IS_AUTHORITY),
      await constraints('30060101ff020103'),
      await constraints('3000'),
      await constraints(),
    ]).toEqual([
      { isAuthority: true, pathLength: undefined },
      { isAuthority: true, pathLength: 3 },
      { isAuthority: false, pathLength: undefined },
      undefined,
    ]);
    expect(faults(await certificate('3000'))).toEqual([
      undefined,
      undefined,
      'is not that of an authority (basic constraints)',
    ]);
  });

  it('of an authority is not a device’s', async () => {
    expect(faults(await certificate(IS_AUTHORITY))).toEqual([
      undefined,
      'is that of an authority, not of a device (basic constraints)',
      undefined,
    ]);
  });

  it.each(['00', '01'])('with extensions and version %s, which has none, is refused', async (version) => {
    const der = replaced(await certificate(IS_AUTHORITY), VERSION_3, `a0030201${version}`);
    expect(faults(der)).toEqual(UNREADABLE);
  });

  it.each(['01', '80', 'fe', '00'])(
    'with the BOOLEAN %s is refused, in an extension and in basic constraints',
    async (bits) => {
      const critical = replaced(await certificate('3000'), CRITICAL_CONSTRAINTS, `551d130101${bits}`);
      const constraints = await certificate(`30030101${bits}`);
      for (const der of [critical, constraints]) expect(() => readCertificate(der)).toThrow(RangeError);
      expect(faults(critical)).toEqual(UNREADABLE);
    },
  );

  it.each([
    ['behind them', `${IS_AUTHORITY}0500`],
    ['behind them, a byte', `${IS_AUTHORITY}00`],
    ['in them', '30050101ff0500'],
    ['in them, behind the path length', '30080101ff0201030500'],
    ['in a second length', '30090101ff020103020104'],
  ])('with bytes of its basic constraints that do not belong there, %s, is refused', async (_where, value) => {
    const der = await certificate(value);
    expect(() => readCertificate(der)).toThrow(RangeError);
    expect(faults(der)).toEqual(UNREADABLE);
  });
});
