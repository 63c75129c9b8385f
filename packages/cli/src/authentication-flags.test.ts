import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AUTHENTICATION_TYPES } from '@culvert/protocol';
import { type DeviceCertificate, deviceCertificate } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AUTHENTICATION_NAMES,
  type AuthenticationFlags,
  authenticationInput,
  authenticationName,
} from './authentication-flags.ts';

let directory: string;
let certificate: DeviceCertificate;
let certFile: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-auth-'));
  certificate = await deviceCertificate('press-7');
  certFile = join(directory, 'cert.pem');
  // Certificate chains are stored with the device's own certificate first.
  writeFileSync(certFile, `press-7:\n${certificate.cert}\n${(await deviceCertificate('other')).cert}`);
  writeFileSync(join(directory, 'key.pem'), certificate.key);
  writeFileSync(join(directory, 'bad.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const SHA1 = 'AB'.repeat(20);
const SHA256 = 'cd:'.repeat(31).concat('cd');

describe('the flags of authentication', () => {
  it('say nothing, or a type', () => {
    expect(authenticationInput({})).toBeUndefined();
    expect(authenticationInput({ auth: 'sas' })).toEqual({ type: 'sas' });
    expect(authenticationInput({ auth: 'ca' })).toEqual({ type: 'certificateAuthority' });
    expect(authenticationInput({ auth: 'none' })).toEqual({ type: 'none' });
    expect(Object.values(AUTHENTICATION_NAMES).toSorted()).toEqual(AUTHENTICATION_TYPES.toSorted());
    expect(AUTHENTICATION_TYPES.map(authenticationName)).toEqual(['sas', 'self-signed', 'ca', 'none']);
  });

  it('take thumbprints as tools print them, and certificates themselves; the second is to follow the first', () => {
    expect(authenticationInput({ thumbprint: [SHA256, SHA1.toLowerCase()] })).toEqual({
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: 'CD'.repeat(32), secondaryThumbprint: SHA1 },
    });
    // A single certificate replaces both earlier ones.
    expect(authenticationInput({ auth: 'self-signed', certFile: [certFile] })).toEqual({
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: certificate.sha256, secondaryThumbprint: '' },
    });
    expect(authenticationInput({ thumbprint: [SHA1], certFile: [certFile] })).toMatchObject({
      x509Thumbprint: { primaryThumbprint: SHA1, secondaryThumbprint: certificate.sha256 },
    });
  });

  it.each<[AuthenticationFlags, RegExp]>([
    [{ auth: 'self-signed' }, /^--auth self-signed needs --cert-file FILE or --thumbprint HEX$/],
    [{ auth: 'ca', thumbprint: [SHA1] }, /go with --auth self-signed, not with ca$/],
    [{ thumbprint: ['xyz'] }, /^'xyz' is not the SHA-256 or SHA-1 of a certificate/],
    [{ thumbprint: ['AB'.repeat(21)] }, /is not the SHA-256/],
    [{ thumbprint: [SHA1, SHA256, SHA1] }, /^two certificates at most/],
  ])('are refused: %j', (flags, message) => {
    const refused = expect.objectContaining({ code: 'usage', message: expect.stringMatching(message) });
    expect(() => authenticationInput(flags)).toThrow(refused);
  });

  it.each([
    ['nothing.pem', /there is no such file$/],
    ['key.pem', /holds no certificate in PEM form$/],
    ['bad.pem', /holds a certificate that cannot be read$/],
  ])('are refused: a file %s', (name, message) => {
    const refused = expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(message) });
    expect(() => authenticationInput({ certFile: [join(directory, name)] })).toThrow(refused);
  });
});
