import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { type Fingerprint, fingerprintOf } from './fingerprint.ts';
import { readTextFile, updatePrivateFile } from './private-file.ts';
import { canSelfSign, curveOf, selfSignedCertificate } from './self-signed-certificate.ts';

/** Maximum bytes of a key file: a key and a chain of a few certificates have less than 16 KiB. */
const MAX_BYTES = 65_536;

/** Maximum certificates in a key file. The peer takes 16 KiB of handshake, in which a longer chain would not fit. */
const MAX_CERTIFICATES = 8;

/** The key of one end: a device, or a user or program on the service side. Printing the object does not show the private key. */
export class EndKey {
  /** Of the public key. The peer pins it. */
  readonly fingerprint: Fingerprint;
  readonly #credentials: { readonly key: string; readonly cert: string };

  constructor(privateKey: KeyObject, certificates: string) {
    this.fingerprint = fingerprintOf(createPublicKey(privateKey));
    this.#credentials = { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: certificates };
  }

  /** The private key and the certificate with its chain, PEM, as TLS takes them. Must not be logged. */
  credentials(): { readonly key: string; readonly cert: string } {
    return this.#credentials;
  }
}

/** PEM of a new Ed25519 key and a self-signed certificate for it. */
export function generateEndKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() + selfSignedCertificate(privateKey);
}

/**
 * Reads a private key (Ed25519, P-256 or P-384) and its certificate from PEM text. The certificate may be one of a fleet authority, followed by the
 * intermediate certificates of its chain. Without a certificate the key gets a self-signed one.
 * @param where names the text in messages, such as the path of its file
 * @throws CulvertError `config_invalid`, in one line that never contains the key
 */
export function parseEndKey(pem: string, where: string): EndKey {
  const block = pem.match(/-----BEGIN ([A-Z ]*)PRIVATE KEY-----[\s\S]*?-----END \1PRIVATE KEY-----/)?.[0];
  if (block === undefined) throw broken(where, 'holds no private key in PEM form');
  const privateKey = readPrivateKey(block, where);
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > MAX_CERTIFICATES) throw broken(where, `holds more than ${MAX_CERTIFICATES} certificates`);
  const [first] = blocks.map((certificate) => readCertificate(certificate, where));
  if (first === undefined) return new EndKey(privateKey, selfSignedCertificate(privateKey));
  if (!first.checkPrivateKey(privateKey)) throw broken(where, 'holds a key and a certificate of another key');
  return new EndKey(privateKey, `${blocks.join('\n')}\n`);
}

/** What opening a key file needs. */
export interface OpenEndKeyOptions {
  readonly clock: Clock;
  /** Called with one line when other users of the machine may read the file. */
  readonly warn: (text: string) => void;
}

/**
 * Opens the key file of this end. If there is none, creates it with a new key, readable only by its owner: two programs that start at the same time
 * get the same key.
 * @throws CulvertError `config_invalid` when the file can neither be read nor created, or is broken. It is never replaced: peers have pinned its key
 */
export async function openEndKey(path: string, { clock, warn }: OpenEndKeyOptions): Promise<EndKey> {
  let text = await readTextFile(path, MAX_BYTES);
  if (text === undefined) {
    await updatePrivateFile(path, { clock, maxBytes: MAX_BYTES }, (existing) => {
      text = existing ?? generateEndKey();
      return existing === undefined ? text : undefined;
    });
  }
  const key = parseEndKey(text ?? '', path);
  if (process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0)
    warn(`warning: others may read ${path}, which holds a key; run: chmod 600 ${path}`);
  return key;
}

function readPrivateKey(block: string, where: string): KeyObject {
  if (block.includes('ENCRYPTED'))
    throw broken(where, 'holds an encrypted key, which cannot be used: store it decrypted, for its owner only');
  const key = readable(where, 'holds a private key that cannot be read', () => createPrivateKey(block));
  if (canSelfSign(key)) return key;
  throw broken(where, `holds a key of type ${curveOf(key)}: it must be Ed25519, P-256 or P-384`);
}

function readCertificate(block: string, where: string): X509Certificate {
  return readable(where, 'holds a certificate that cannot be read', () => new X509Certificate(block));
}

function readable<T>(where: string, problem: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    // Without the cause: the message of a library about a key may contain the key.
    throw broken(where, problem);
  }
}

function broken(where: string, problem: string): CulvertError {
  return new CulvertError('config_invalid', `${where} ${problem}.`);
}
