import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import type { ChainHead } from './audit-record.ts';
import { canonicalJson } from './canonical-json.ts';

/**
 * A statement signed by the hub that record `seq` has this hash. Since each record contains the hash of the previous one, it also covers all earlier
 * records. A copy stored outside the hub shows if the log was later truncated or rewritten.
 */
export interface Checkpoint extends ChainHead {
  readonly type: 'culvert-audit-checkpoint';
  /** When the checkpoint was signed, RFC 3339. */
  readonly at: string;
  /** SHA-256 of the hub's public key (SPKI, DER), hexadecimal. */
  readonly key: string;
  /** Ed25519 (RFC 8032) over the canonical form of all other fields, base64url. */
  readonly signature: string;
}

/** The id of a public key: the SHA-256 of its SPKI form (DER), hexadecimal. */
export function keyId(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** Signs a checkpoint for the chain's head. */
export function signCheckpoint(
  { seq, hash }: ChainHead,
  at: number,
  keys: { privateKey: KeyObject; publicKey: KeyObject },
): Checkpoint {
  const open = {
    type: 'culvert-audit-checkpoint' as const,
    seq,
    hash,
    at: new Date(at).toISOString(),
    key: keyId(keys.publicKey),
  };
  const signature = sign(null, Buffer.from(canonicalJson(open)), keys.privateKey).toString('base64url');
  return { ...open, signature };
}

/** The text of a checkpoint as stored and sent, without a newline. */
export function checkpointLine(checkpoint: Checkpoint): string {
  return canonicalJson({ ...checkpoint });
}

/**
 * Reads a checkpoint and verifies its signature.
 * @returns the checkpoint, or a clause that describes the problem
 */
export function readCheckpoint(line: string, publicKey: KeyObject): Checkpoint | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { problem: 'is not JSON' };
  }
  if (!isCheckpoint(value)) return { problem: 'is not a checkpoint' };
  const { signature, ...open } = value;
  if (value.key !== keyId(publicKey)) return { problem: 'was signed with another key' };
  const signed = Buffer.from(canonicalJson(open));
  if (!verify(null, signed, publicKey, Buffer.from(signature, 'base64url'))) {
    return { problem: 'bears a signature that is not the hub’s' };
  }
  return value;
}

function isCheckpoint(value: unknown): value is Checkpoint {
  if (typeof value !== 'object' || value === null) return false;
  const { type, seq, hash, at, key, signature } = value as Record<string, unknown>;
  return (
    type === 'culvert-audit-checkpoint' &&
    Number.isSafeInteger(seq) &&
    [hash, at, key, signature].every((field) => typeof field === 'string')
  );
}
