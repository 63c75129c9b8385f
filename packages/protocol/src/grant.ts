import { type CryptoKey, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { CulvertError } from './errors.ts';
import { isStreamId, type Side } from './ids.ts';
import { LIMITS } from './limits.ts';

/**
 * What a grant says: the bearer may come as `side` of stream `streamId`, to the gateway whose boot id this is, once, until
 * `expiresAt`. Nothing else: neither names nor ids of devices are in it. (docs/protocol/04-grants.md)
 */
export interface GrantClaims {
  readonly streamId: string;
  readonly side: Side;
  /** The boot id of the one gateway process that takes this grant; after a restart it is another, so old grants die. */
  readonly audience: string;
  /** Milliseconds since the epoch; on the wire `exp` in seconds with milliseconds as its fraction. */
  readonly expiresAt: number;
}

/** URL and one-time token that let one side reach the gateway for one stream. */
export interface Grant {
  /** `wss://host:port/bridges/{streamId}/{side}`: always with a port, never with a query (the preview's C client needs both). */
  readonly url: string;
  /** A compact JWT of fewer than 1,000 bytes, sent as `Authorization: Bearer`. */
  readonly token: string;
}

/** A new Ed25519 pair: the hub keeps the private key, the gateway is given the public one. Neither can be exported from here. */
export function newGrantKeys(): Promise<{ readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }> {
  return generateKeyPair('EdDSA', { crv: 'Ed25519' });
}

/** Signs a grant with Ed25519. Only the hub holds the key. */
export async function signGrant(claims: GrantClaims, key: CryptoKey): Promise<string> {
  const token = await new SignJWT({ sid: claims.streamId, side: claims.side, exp: claims.expiresAt / 1000 })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
    .setAudience(claims.audience)
    .sign(key);
  if (token.length > LIMITS.grantTokenBytes)
    throw new CulvertError('internal', 'A grant came out longer than the wire allows.');
  return token;
}

/**
 * Verifies signature, algorithm, audience and expiry and returns the claims. That a grant is used once is the gateway's own care.
 * @throws CulvertError `grant_invalid`, never quoting the token
 */
export async function verifyGrant(
  token: string,
  expected: { key: CryptoKey; audience: string; now: number },
): Promise<GrantClaims> {
  if (token.length > LIMITS.grantTokenBytes) throw new CulvertError('grant_invalid');
  try {
    const { payload } = await jwtVerify(token, expected.key, {
      algorithms: ['EdDSA'],
      audience: expected.audience,
      currentDate: new Date(expected.now),
      requiredClaims: ['exp', 'sid', 'side'],
    });
    const { sid, side, exp } = payload;
    if (
      typeof sid !== 'string' ||
      !isStreamId(sid) ||
      (side !== 'device' && side !== 'service') ||
      typeof exp !== 'number'
    )
      throw new CulvertError('grant_invalid');
    const expiresAt = Math.round(exp * 1000);
    if (expiresAt <= expected.now) throw new CulvertError('grant_invalid', 'The grant has expired.');
    return { streamId: sid, side, audience: expected.audience, expiresAt };
  } catch (error) {
    throw CulvertError.from(error, 'grant_invalid');
  }
}

const PATH = /^\/bridges\/([0-9a-f]{32})\/(device|service)$/;

/** The path of a grant's URL. */
export function grantPath(streamId: string, side: Side): string {
  return `/bridges/${streamId}/${side}`;
}

/** The stream and side a request path names, or undefined when it is no grant's path. */
export function parseGrantPath(path: string): { streamId: string; side: Side } | undefined {
  const match = PATH.exec(path);
  return match === null ? undefined : { streamId: match[1] as string, side: match[2] as Side };
}

/** Whether a request path is the gateway's to answer. */
export function isGatewayPath(path: string): boolean {
  return path.startsWith('/bridges/');
}
