import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { must } from './program.ts';
import { scratch } from './scratch.ts';

/** Files of a certificate, PEM. */
export interface CertificateFiles {
  /** The certificate, and below it those that lead to its authority. */
  readonly cert: string;
  readonly key: string;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate authority of the command `openssl`, with a directory of its own: what an administrator makes by hand. */
export class OpenSsl {
  readonly #directory: string;
  #made = 0;

  constructor(cleanup: Cleanup) {
    this.#directory = scratch(cleanup);
  }

  /** An authority: a root, or one below `issuer`. */
  authority(name: string, issuer?: CertificateFiles): Promise<CertificateFiles> {
    return this.#make(name, issuer, ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign']);
  }

  /** A device's certificate: signed by `issuer`, else by itself. */
  device(name: string, issuer?: CertificateFiles): Promise<CertificateFiles> {
    return this.#make(name, issuer, ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth']);
  }

  /** A thumbprint as the command prints it: hexadecimal with colons. */
  async thumbprint({ cert }: CertificateFiles, hash: 'sha1' | 'sha256'): Promise<string> {
    const line = await must('openssl', ['x509', '-in', cert, '-noout', '-fingerprint', `-${hash}`]);
    return line.trim().replace(/^.*=/, '');
  }

  async #make(name: string, issuer: CertificateFiles | undefined, extensions: string[]): Promise<CertificateFiles> {
    const base = join(this.#directory, String(++this.#made));
    const files = { cert: `${base}.pem`, key: `${base}.key` };
    // A slash in a name begins the next part of it, but for one that is escaped.
    const subject = ['-subj', `/CN=${name.replaceAll('/', '\\/')}`];
    if (issuer === undefined) {
      const added = extensions.flatMap((extension) => ['-addext', extension]);
      const args = [
        'req',
        '-x509',
        ...KEY,
        '-keyout',
        files.key,
        '-out',
        files.cert,
        ...subject,
        '-days',
        '2',
        ...added,
      ];
      await must('openssl', args);
      return files;
    }
    const request = `${base}.csr`;
    await must('openssl', ['req', ...KEY, '-keyout', files.key, '-out', request, ...subject]);
    writeFileSync(`${base}.ext`, extensions.join('\n'));
    const by = ['-CA', issuer.cert, '-CAkey', issuer.key, '-CAcreateserial', '-days', '2', '-extfile', `${base}.ext`];
    await must('openssl', ['x509', '-req', '-in', request, '-out', files.cert, ...by]);
    writeFileSync(files.cert, readFileSync(files.cert, 'utf8') + readFileSync(issuer.cert, 'utf8'));
    return files;
  }
}
