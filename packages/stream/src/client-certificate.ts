import { createPrivateKey, X509Certificate } from 'node:crypto';
import { CulvertError } from '@culvert/protocol';

/** What a device proves itself with where it has no key of the hub's: its own certificate and the private key to it, PEM. */
export interface ClientCertificate {
  /** The certificate; below it those that lead to its authority, if there are any. */
  readonly cert: string;
  readonly key: string;
  /** Of an encrypted key. */
  readonly passphrase?: string;
}

/**
 * Returns when TLS can present it. OpenSSL's own words would not tell which of the two parts is wrong.
 * @throws CulvertError `config_invalid`, never quoting the key
 */
export function assertUsable({ cert, key, passphrase }: ClientCertificate): void {
  const certificate = read('The client certificate cannot be read: it must be in PEM form.', () => {
    return new X509Certificate(cert);
  });
  const privateKey = read(unreadableKey(key, passphrase), () => {
    return createPrivateKey({ key, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  });
  if (!certificate.checkPrivateKey(privateKey))
    throw new CulvertError('config_invalid', 'The private key is not the one to the client certificate.');
}

function unreadableKey(key: string, passphrase: string | undefined): string {
  if (!/ENCRYPTED/.test(key))
    return 'The private key of the client certificate cannot be read: it must be in PEM form.';
  return passphrase === undefined
    ? 'The private key of the client certificate is encrypted, and there is no passphrase for it.'
    : 'The passphrase does not open the private key of the client certificate.';
}

function read<T>(problem: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // Without its cause: what a library says of a key is not ours to show.
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    throw new CulvertError('config_invalid', problem.replace(/\.$/, `${code}.`));
  }
}
