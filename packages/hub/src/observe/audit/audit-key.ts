import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { readIfThere, writeFileAtomic } from '../../storage/atomic-file.ts';

/** What the hub signs its audit record with, and what others verify it with. */
export interface AuditKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/**
 * The hub's Ed25519 key in `directory`: `key.pem` (0600), made on first start, and `public.pem` to be copied to whoever verifies.
 * @throws CulvertError `config_invalid` when the file holds no such key
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
    // The sentence below says it.
  }
  throw new CulvertError('config_invalid', `${path} is not an Ed25519 key: restore it, or move it away for a new one.`);
}

function pemOf(key: KeyObject, type: 'pkcs8' | 'spki'): string {
  return key.export({ type, format: 'pem' }).toString();
}
