import { execFileSync, spawn } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { systemClock } from '@culvert/stream';
import { deviceCertificate, testAuthority } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateEndKey, openEndKey, parseEndKey } from './end-key.ts';
import { newKey } from './links.fixture.ts';
import { selfSignedCertificate } from './self-signed-certificate.ts';

let directory: string;
let warnings: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-keys-'));
  warnings = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (path: string) => openEndKey(path, { clock: systemClock, warn: (line) => warnings.push(line) });
const pemOf = (key: KeyObject, type: 'pkcs8' | 'sec1' = 'pkcs8') => key.export({ type, format: 'pem' }).toString();
const ecKey = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey;

describe('a self-signed certificate', () => {
  it.each([
    ['Ed25519', generateKeyPairSync('ed25519').privateKey, 'ED25519'],
    ['P-256', ecKey('prime256v1'), 'ecdsa-with-SHA256'],
    ['P-384', ecKey('secp384r1'), 'ecdsa-with-SHA384'],
  ])('of a key on %s is read by Node and by openssl', (_name, key, algorithm) => {
    const pem = selfSignedCertificate(key);
    const certificate = new X509Certificate(pem);
    expect(certificate.checkPrivateKey(key)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate).toMatchObject({ subject: 'CN=culvert', issuer: 'CN=culvert', ca: false });
    expect(certificate).toMatchObject({ validFrom: 'Jan  1 00:00:00 1970 GMT', validTo: 'Dec 31 23:59:59 9999 GMT' });
    expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
    const printed = execFileSync('openssl', ['x509', '-noout', '-text'], { input: pem }).toString();
    expect(printed).toMatch(new RegExp(`Version: 3 [\\s\\S]*Signature Algorithm: ${algorithm}`));
    expect(printed).toMatch(
      /Basic Constraints: critical\s+CA:FALSE\s+X509v3 Key Usage: critical\s+Digital Signature\n/,
    );
    const file = join(directory, 'certificate.pem');
    writeFileSync(file, pem);
    const verify = ['verify', '-partial_chain', '-trusted', file, file];
    expect(execFileSync('openssl', verify).toString()).toBe(`${file}: OK\n`);
  });

  it('is encoded as DER requires: OpenSSL writes the same bytes', () => {
    const file = join(directory, 'certificate.pem');
    writeFileSync(file, selfSignedCertificate(ecKey('prime256v1')));
    const again = execFileSync('openssl', ['x509', '-in', file, '-outform', 'PEM']).toString();
    expect(again).toBe(readFileSync(file, 'utf8'));
    expect(execFileSync('openssl', ['asn1parse', '-in', file]).toString()).not.toMatch(/error|BAD/i);
  });
});

describe('a key file', () => {
  it('is created at first use, for its owner only, and has the same key from then on', async () => {
    const path = join(directory, 'culvert', 'keys', 'device.pem');
    const first = await open(path);
    const again = await open(path);
    expect(again.fingerprint).toBe(first.fingerprint);
    expect(createPrivateKey(first.credentials().key).asymmetricKeyType).toBe('ed25519');
    expect([statSync(path).mode & 0o777, statSync(join(directory, 'culvert')).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(readdirSync(join(directory, 'culvert', 'keys'))).toEqual(['device.pem']);
    expect(warnings).toEqual([]);
  });

  it('is created once by programs that start at the same time', async () => {
    const path = join(directory, 'device.pem');
    const program = fileURLToPath(new URL('./open-end-key.fixture.ts', import.meta.url));
    const fingerprints = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const child = spawn(process.execPath, ['--conditions=development', program, path], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
        return output.trim();
      }),
    );
    expect(new Set(fingerprints)).toEqual(new Set([(await open(path)).fingerprint]));
  });

  it('may have a key on P-256 or P-384, and no certificate', async () => {
    for (const curve of ['prime256v1', 'secp384r1']) {
      const path = join(directory, `${curve}.pem`);
      writeFileSync(path, pemOf(ecKey(curve), 'sec1'), { mode: 0o600 });
      expect((await open(path)).credentials().cert).toContain('BEGIN CERTIFICATE');
    }
  });

  it('may have the certificate of a fleet authority with its chain, before the key or behind it', async () => {
    const root = await testAuthority('root');
    const plant = await testAuthority('plant', { issuer: root });
    const { cert, key } = await deviceCertificate('press-7', { authority: plant });
    for (const [index, parts] of [
      [cert, key],
      [key, cert],
    ].entries()) {
      const path = join(directory, `${index}.pem`);
      writeFileSync(path, parts.join('\n'), { mode: 0o600 });
      expect((await open(path)).credentials().cert.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    }
  });

  it('that others may read is used with a warning', async () => {
    const path = join(directory, 'device.pem');
    await open(path);
    chmodSync(path, 0o640);
    await open(path);
    expect(warnings).toEqual([`warning: others may read ${path}, which holds a key; run: chmod 600 ${path}`]);
  });

  it.each([
    ['empty', () => '', /holds no private key/],
    ['cut off', () => generateEndKey().slice(0, 60), /holds no private key/],
    [
      'a key that is damaged',
      () => generateEndKey().replace(/\n[A-Za-z0-9+/]{10}/, '\nAAAAAAAAAA'),
      /holds a private key that cannot be read/,
    ],
    [
      'a certificate that is damaged',
      () => generateEndKey().replace(/(BEGIN CERTIFICATE-----\n).{20}/, '$1AAAAAAAAAAAAAAAAAAAA'),
      /holds a certificate that cannot be read/,
    ],
    [
      'the certificate of another key',
      () => newKey().credentials().key + newKey().credentials().cert,
      /a certificate of another key/,
    ],
    [
      'an RSA key',
      () => pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
      /type rsa: it must be Ed25519, P-256 or P-384/,
    ],
    ['a key on another curve', () => pemOf(ecKey('secp256k1')), /type secp256k1/],
    [
      'an encrypted key',
      () =>
        ecKey('prime256v1').export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
      /holds an encrypted key/,
    ],
    [
      'too many certificates',
      () => generateEndKey() + newKey().credentials().cert.repeat(8),
      /more than 8 certificates/,
    ],
    ['more than 64 KiB', () => generateEndKey() + ' '.repeat(65_536), /larger than 65536 bytes/],
  ])('that is broken is named in one line, and left as it is: %s', async (_name, make, message) => {
    const path = join(directory, 'device.pem');
    const content = make();
    writeFileSync(path, content, { mode: 0o600 });
    const error = await open(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'config_invalid', message: expect.stringMatching(message) });
    expect(String(error)).toContain(path);
    expect(String(error)).not.toMatch(/\n|BEGIN|MC4C/);
    expect(readFileSync(path, 'utf8')).toBe(content);
  });

  it('that can neither be read nor created is named in one line', async () => {
    const path = join(directory, 'device.pem');
    mkdirSync(path);
    await expect(open(path)).rejects.toMatchObject({
      code: 'config_invalid',
      message: `Cannot read ${path}: it is a directory.`,
    });
    const below = join(directory, 'file', 'device.pem');
    writeFileSync(join(directory, 'file'), '');
    await expect(open(below)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining(below),
    });
    await expect(open('/proc/nowhere/device.pem')).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

it('a key is not shown when it is printed', () => {
  const key = parseEndKey(generateEndKey(), 'a test');
  expect(inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)).not.toContain('PRIVATE');
});
