import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { must } from './program.ts';
import { scratch } from './scratch.ts';

/** The files of a certificate and its key, in PEM. */
export interface CertificateFiles {
  /** The certificate, followed by those that lead to its authority. */
  readonly cert: string;
  readonly key: string;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate authority made with the `openssl` command, as an administrator makes one by hand. It has its own directory. */
export class OpenSsl {
  readonly #directory: string;
  #made = 0;

  constructor(cleanup: Cleanup) {
    this.#directory = scratch(cleanup);
  }

  /** Creates an authority: a root, or an intermediate one below `issuer`. */
  authority(name: string, issuer?: CertificateFiles): Promise<CertificateFiles> {
    return this.#make(name, issuer, ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign']);
  }

  /** Creates a device's certificate: signed by `issuer`, or self-signed without one. */
  device(name: string, issuer?: CertificateFiles): Promise<CertificateFiles> {
    return this.#make(name, issuer, ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth']);
  }

  /** Returns a thumbprint as the command prints it: hexadecimal with colons. */
  async thumbprint({ cert }: CertificateFiles, hash: 'sha1' | 'sha256'): Promise<string> {
    const line = await must('openssl', ['x509', '-in', cert, '-noout', '-fingerprint', `-${hash}`]);
    return line.trim().replace(/^.*=/, '');
  }

  async #make(name: string, issuer: CertificateFiles | undefined, extensions: string[]): Promise<CertificateFiles> {
    const base = join(this.#directory, String(++this.#made));
    const files = { cert: `${base}.pem`, key: `${base}.key` };
    // An unescaped slash would start the next part of the subject.
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
