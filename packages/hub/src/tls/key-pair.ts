import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';

/** A server certificate with its key, already checked, for `tls.createServer` and `server.setSecureContext`. */
export interface KeyPair {
  /** PEM: the server's certificate first, then the intermediate certificates. */
  readonly cert: string;
  /** PEM. Secret. */
  readonly key: string;
  readonly notAfter: Date;
  /** The file that the certificate was read from, for logs. */
  readonly from: string;
}

/**
 * Checks that the key belongs to the certificate, that the certificate has not expired, and that TLS accepts both.
 * @throws CulvertError `config_invalid` with one sentence that names the files, never the key
 */
export function checkedKeyPair(
  files: { cert: string; key: string; certFile: string; keyFile: string },
  now: number,
): KeyPair {
  const { cert, key, certFile, keyFile } = files;
  const parse = <T>(make: () => T, problem: string): T => {
    try {
      return make();
    } catch (error) {
      throw new CulvertError('config_invalid', problem, { cause: error });
    }
  };
  const certificate = parse(() => new X509Certificate(cert), `${certFile} is not a certificate in PEM.`);
  const privateKey = parse(() => createPrivateKey(key), `${keyFile} is not a private key in PEM without a passphrase.`);
  if (!certificate.checkPrivateKey(privateKey))
    throw new CulvertError('config_invalid', `The key in ${keyFile} is not that of the certificate in ${certFile}.`);
  const notAfter = certificate.validToDate;
  if (notAfter.getTime() <= now)
    throw new CulvertError('config_invalid', `The certificate in ${certFile} expired on ${notAfter.toISOString()}.`);
  parse(() => createSecureContext({ cert, key }), `The certificate in ${certFile} cannot be used for TLS.`);
  return { cert, key, notAfter, from: certFile };
}

/**
 * Reads and checks an operator's certificate and key.
 * @throws CulvertError `config_invalid`
 */
export async function loadKeyPair(certFile: string, keyFile: string, now: number): Promise<KeyPair> {
  const cert = await readText(certFile);
  const key = await readText(keyFile);
  return checkedKeyPair({ cert, key, certFile, keyFile }, now);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CulvertError('config_invalid', `${file} cannot be read: ${fileProblem(error)}.`, { cause: error });
  }
}
