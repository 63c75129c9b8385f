import { generateKeyPair, type KeyObject, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { CulvertError } from './errors.ts';
import { isStreamId, type Side } from './ids.ts';
import { LIMITS } from './limits.ts';

/**
 * The claims of a grant: the bearer may connect as `side` of stream `streamId`, to the gateway with this boot id, once, until
 * `expiresAt`. It contains neither names nor ids of devices. (docs/protocol/04-grants.md)
 */
export interface GrantClaims {
  readonly streamId: string;
  readonly side: Side;
  /** The boot id of the one gateway process that accepts this grant; it changes at a restart, which invalidates old grants. */
  readonly audience: string;
  /** Milliseconds since the epoch; on the wire `exp` in seconds with milliseconds as its fraction. */
  readonly expiresAt: number;
}

/** URL and one-time token that let one side reach the gateway for one stream. */
export interface Grant {
  /** `wss://host:port/bridges/{streamId}/{side}`: always with a port, never with a query (Azure's C client requires both). */
  readonly url: string;
  /** A compact JWT of fewer than 1,000 bytes, sent as `Authorization: Bearer`. */
  readonly token: string;
}

/** A new Ed25519 pair: the hub keeps the private key, the gateway is given the public one. */
export function newGrantKeys(): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
  return promisify(generateKeyPair)('ed25519', {});
}

/** The first part of every grant: the only accepted header, so that a token cannot choose another algorithm. */
const HEADER = Buffer.from(JSON.stringify({ alg: 'EdDSA', typ: 'JWT' })).toString('base64url');

/** Payload and signature of a token that begins with {@link HEADER}; 64 bytes of signature are 86 characters. */
const PARTS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;

/**
 * Signs a grant with Ed25519. Only the hub has the key. Signs synchronously by OpenSSL, not in the thread pool as WebCrypto does: that
 * costs two to three times as much per signature, and each handshake makes two and verifies two.
 */
export async function signGrant(claims: GrantClaims, key: KeyObject): Promise<string> {
  const { streamId, side, audience, expiresAt } = claims;
  const payload = JSON.stringify({ sid: streamId, side, exp: expiresAt / 1000, aud: audience });
  const signed = `${HEADER}.${Buffer.from(payload).toString('base64url')}`;
  const token = `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
  if (token.length > LIMITS.grantTokenBytes)
    throw new CulvertError('internal', 'A grant came out longer than the wire allows.');
  return token;
}

/**
 * Verifies signature, algorithm, audience and expiry and returns the claims. The gateway itself ensures that a grant is used only once.
 * @throws CulvertError `grant_invalid`, never quoting the token
 */
export async function verifyGrant(
  token: string,
  expected: { key: KeyObject; audience: string; now: number },
): Promise<GrantClaims> {
  if (token.length > LIMITS.grantTokenBytes || !token.startsWith(`${HEADER}.`)) throw new CulvertError('grant_invalid');
  const [, payload = '', signature = ''] = PARTS.exec(token.slice(HEADER.length + 1)) ?? [];
  const signed = Buffer.from(`${HEADER}.${payload}`);
  if (!verify(null, signed, expected.key, Buffer.from(signature, 'base64url'))) throw new CulvertError('grant_invalid');
  const { sid, side, exp, aud } = readPayload(payload);
  if (
    typeof sid !== 'string' ||
    !isStreamId(sid) ||
    (side !== 'device' && side !== 'service') ||
    typeof exp !== 'number' ||
    aud !== expected.audience
  )
    throw new CulvertError('grant_invalid');
  const expiresAt = Math.round(exp * 1000);
  if (expiresAt <= expected.now) throw new CulvertError('grant_invalid', 'The grant has expired.');
  return { streamId: sid, side, audience: expected.audience, expiresAt };
}

/** Parses the payload of a verified grant. */
function readPayload(payload: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch (error) {
    throw CulvertError.from(error, 'grant_invalid');
  }
}

const PATH = /^\/bridges\/([0-9a-f]{32})\/(device|service)$/;

/** The path of a grant's URL. */
export function grantPath(streamId: string, side: Side): string {
  return `/bridges/${streamId}/${side}`;
}

/** The stream and side of a request path, or undefined when it is not a grant's path. */
export function parseGrantPath(path: string): { streamId: string; side: Side } | undefined {
  const match = PATH.exec(path);
  return match === null ? undefined : { streamId: match[1] as string, side: match[2] as Side };
}

/** Whether a request path belongs to the gateway. */
export function isGatewayPath(path: string): boolean {
  return path.startsWith('/bridges/');
}
