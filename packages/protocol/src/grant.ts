import { generateKeyPair, type KeyObject, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { CulvertError } from './errors.ts';
import { isStreamId, type Side } from './ids.ts';
import { LIMITS } from './limits.ts';

/**
 * The claims of a grant: its bearer may connect once, until `expiresAt`, as `side` of the stream `streamId`, to the gateway whose boot id
 * is `audience`. The claims contain neither names nor ids of devices (docs/protocol/04-grants.md).
 */
export interface GrantClaims {
  readonly streamId: string;
  readonly side: Side;
  /** The boot id of the only gateway that accepts this grant. A restart of the gateway changes it, so earlier grants become invalid. */
  readonly audience: string;
  /** Milliseconds since the epoch. The JWT contains it as `exp`, in seconds with the milliseconds as a fraction. */
  readonly expiresAt: number;
}

/** URL and one-time token that let one side reach the gateway for one stream. */
export interface Grant {
  /** `wss://host:port/bridges/{streamId}/{side}`: always with a port and never with a query, as Azure's C client requires. */
  readonly url: string;
  /** A compact JWT of fewer than 1,000 bytes, sent as `Authorization: Bearer`. */
  readonly token: string;
}

/** Makes a new Ed25519 key pair: the private key for the hub, the public key for the gateway. */
export function newGrantKeys(): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
  return promisify(generateKeyPair)('ed25519', {});
}

/** The JWT header of every grant. No other is accepted, so a token cannot choose another algorithm. */
const HEADER = Buffer.from(JSON.stringify({ alg: 'EdDSA', typ: 'JWT' })).toString('base64url');

/** Payload and signature: the rest of a token after {@link HEADER}. A signature of 64 bytes has 86 characters in base64url. */
const PARTS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;

/**
 * Signs a grant with Ed25519. Only the hub has the key. The signature is made synchronously by OpenSSL: WebCrypto, which uses the thread
 * pool, costs two to three times as much per signature, and each handshake makes two signatures and verifies two.
 */
export async function signGrant(claims: GrantClaims, key: KeyObject): Promise<string> {
  const { streamId, side, audience, expiresAt } = claims;
  const payload = JSON.stringify({ sid: streamId, side, exp: expiresAt / 1000, aud: audience });
  const signed = `${HEADER}.${Buffer.from(payload).toString('base64url')}`;
  const token = `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
  if (token.length > LIMITS.grantTokenBytes)
    throw new CulvertError('internal', 'The signed grant is longer than the protocol allows.');
  return token;
}

/**
 * Verifies signature, algorithm, audience and expiry, and returns the claims. Does not check whether the grant was used before: the gateway does.
 * @throws CulvertError `grant_invalid`; its message never contains the token
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

/** The stream and side in the path of a grant's URL; undefined for any other path. */
export function parseGrantPath(path: string): { streamId: string; side: Side } | undefined {
  const match = PATH.exec(path);
  return match === null ? undefined : { streamId: match[1] as string, side: match[2] as Side };
}

/** Whether requests for this path are for the gateway. */
export function isGatewayPath(path: string): boolean {
  return path.startsWith('/bridges/');
}
