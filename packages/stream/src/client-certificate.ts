import { createPrivateKey, X509Certificate } from 'node:crypto';
import { CulvertError } from '@culvert/protocol';

/** A device's certificate and private key, both PEM, for a device that has no key registered at the hub. */
export interface ClientCertificate {
  /** The certificate, followed by intermediate certificates if there are any. */
  readonly cert: string;
  readonly key: string;
  /** Needed if the key is encrypted. */
  readonly passphrase?: string;
}

/**
 * Checks that TLS can use the certificate and the key. OpenSSL's own error message does not show which of the two is wrong.
 * @throws CulvertError `config_invalid`; its message never contains the key
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
    // The cause is left out: a library's error message about a key may contain the key.
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    throw new CulvertError('config_invalid', problem.replace(/\.$/, `${code}.`));
  }
}
