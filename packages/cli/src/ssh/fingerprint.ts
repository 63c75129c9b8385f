import { createHash } from 'node:crypto';

/** A public key's fingerprint with the key type's name, in OpenSSH's form: `ED25519 SHA256:…`. */
export function fingerprint(key: string): string {
  const [type = '', base64 = ''] = key.split(' ');
  const digest = createHash('sha256').update(Buffer.from(base64, 'base64')).digest('base64').replace(/=+$/, '');
  const algorithm = type.startsWith('ecdsa-') ? 'ECDSA' : type.replace(/^ssh-/, '').toUpperCase();
  return `${algorithm} SHA256:${digest}`;
}
