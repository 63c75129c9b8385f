import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceCertificate, testAuthority } from '@culvert/testkit';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAuthorizedServices, readAuthorizedServices } from './authorized-services.ts';

const directory = mkdtempSync(join(tmpdir(), 'culvert-authorized-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const A = `SHA256:${'A'.repeat(43)}`;
const B = `SHA256:${'E'.repeat(43)}`;
const authority = await testAuthority('fleet');
const { cert: noAuthority } = await deviceCertificate('press-7', { authority });

describe('a list of authorised services', () => {
  it('has fingerprints with comments, and certificates of authorities', () => {
    const text = `# those who may connect\r\n\n${A} anna@laptop\n  ${B}\tci\n${A}\n${authority.certificate}\n# end`;
    const list = parseAuthorizedServices(text, 'a list');
    expect([...list.fingerprints]).toEqual([A, B]);
    expect(list.authorities).toEqual([authority.certificate.trim()]);
  });

  it('that is empty lets nobody in', () => {
    expect(parseAuthorizedServices('# nobody\n', 'a list')).toEqual({ fingerprints: new Set(), authorities: [] });
  });

  it.each([
    [
      'not a fingerprint',
      /^The line 2 of a list is neither a fingerprint \(SHA256:…\) nor a certificate: not a fingerprint$/,
    ],
    [`${A}x anna`, /^The line 2 of a list is neither/],
    ['-----BEGIN CERTIFICATE-----\nMIIB', /^The certificate that begins on line 2 of a list does not end\.$/],
    ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----', /PEM block on line 2 of a list cannot be read/],
    [noAuthority.trim(), /PEM block on line 2 of a list is not that of an authority/],
    [`${authority.certificate}\n`.repeat(17), /a list holds more than 16/],
    ['\u001b]0;', /\\u001b/],
  ])('names the line that cannot be read: %j', (line, message) => {
    expect(() => parseAuthorizedServices(`${A}\n${line}`, 'a list')).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(message) }),
    );
  });

  it('is read from a file, which must exist', async () => {
    const path = join(directory, 'authorized_services');
    await expect(readAuthorizedServices(path)).rejects.toMatchObject({
      code: 'config_invalid',
      message: `Cannot read ${path}: there is no such file.`,
    });
    writeFileSync(path, `${A}\n`);
    expect([...(await readAuthorizedServices(path)).fingerprints]).toEqual([A]);
    writeFileSync(path, '#'.repeat(1_048_577));
    await expect(readAuthorizedServices(path)).rejects.toMatchObject({ code: 'config_invalid' });
  });
});
