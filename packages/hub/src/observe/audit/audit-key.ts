import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { readIfThere, writeFileAtomic } from '../../storage/atomic-file.ts';

/** The key pair of the audit log: the hub signs checkpoints with the private key, and others verify them with the public key. */
export interface AuditKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/**
 * Reads the hub's Ed25519 key from `key.pem` (0600) in `directory`, or creates it on first start. Also writes `public.pem` (0644), which the operator
 * copies to the machines that verify the audit log.
 * @throws CulvertError `config_invalid` if `key.pem` contains no Ed25519 private key
 */
export async function openAuditKeys(directory: string): Promise<AuditKeys> {
  const path = join(directory, 'key.pem');
  const pem = await readIfThere(path);
  const keys = pem === undefined ? generateKeyPairSync('ed25519') : parseKey(pem, path);
  if (pem === undefined) await writeFileAtomic(path, pemOf(keys.privateKey, 'pkcs8'), 0o600);
  await writeFileAtomic(join(directory, 'public.pem'), pemOf(keys.publicKey, 'spki'), 0o644);
  return keys;
}

function parseKey(pem: string, path: string): AuditKeys {
  try {
    const privateKey = createPrivateKey(pem);
    if (privateKey.asymmetricKeyType === 'ed25519') return { privateKey, publicKey: createPublicKey(privateKey) };
  } catch {
    // Reported by the error below.
  }
  throw new CulvertError(
    'config_invalid',
    `${path} is not an Ed25519 key: restore it, or move it away so that the hub creates a new one.`,
  );
}

function pemOf(key: KeyObject, type: 'pkcs8' | 'spki'): string {
  return key.export({ type, format: 'pem' }).toString();
}
