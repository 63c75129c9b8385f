import { CulvertError, type Identity, LIMITS } from '@culvert/protocol';
import { parseIdentityName } from './amqp-addresses.ts';
import type { SaslVerifier } from './rhea-engine.ts';

/** The claim in SASL PLAIN: a device's or module's identity with its token, or a policy's token, for identities that the links name later. */
export type PlainClaim =
  | { readonly kind: 'identity'; readonly identity: Identity; readonly token: string }
  | { readonly kind: 'policy'; readonly token: string };

/** Bytes of a user name at most: two ids and a host name of 512 bytes. */
const MAX_USER_BYTES = 1_024;

export interface SaslOptions {
  /** Whether the peer presented a certificate in TLS; only then is EXTERNAL offered. */
  readonly hasCertificate: boolean;
  /** Verifies a claim. @throws CulvertError when it is refused */
  claim(claim: PlainClaim): Promise<void>;
}

/**
 * The SASL mechanisms that the hub offers, by name. MSSBCBS is the name that Azure's C client uses for ANONYMOUS when it will send a CBS token. A
 * client that uses either of them, or EXTERNAL with a certificate, is not authenticated yet.
 */
export function saslMechanisms(options: SaslOptions): Readonly<Record<string, SaslVerifier>> {
  const unauthenticated: SaslVerifier = async () => undefined;
  return {
    MSSBCBS: unauthenticated,
    ANONYMOUS: unauthenticated,
    PLAIN: async (response) => {
      try {
        await options.claim(readPlain(response));
        return undefined;
      } catch (reason) {
        return CulvertError.from(reason);
      }
    },
    ...(options.hasCertificate ? { EXTERNAL: unauthenticated } : {}),
  };
}

/**
 * Reads PLAIN's response, authorization id, user and password between zero bytes (RFC 4616 §2). Users are `{device}@sas.{hub}`,
 * `{device}/{module}@sas.{hub}` and `{policy}@sas.root.{hub}`; the password is a SAS token.
 * @throws CulvertError `unauthorized`, `argument_invalid`
 */
export function readPlain(response: Buffer): PlainClaim {
  const [, user, token, ...more] = response.toString('utf8').split('\0');
  if (user === undefined || token === undefined || more.length > 0)
    throw new CulvertError('unauthorized', 'SASL PLAIN without a user and a password.');
  if (user.length > MAX_USER_BYTES) throw new CulvertError('unauthorized', 'The user name is too long.');
  if (Buffer.byteLength(token) > LIMITS.sasTokenBytes)
    throw new CulvertError('unauthorized', 'The password is too long for a SAS token.');
  // A device id may contain an @.
  const at = user.lastIndexOf('@sas.');
  if (at < 1) throw new CulvertError('unauthorized', 'The user is neither DEVICE@sas.HUB nor POLICY@sas.root.HUB.');
  if (user.startsWith('@sas.root.', at)) return { kind: 'policy', token };
  return { kind: 'identity', identity: parseIdentityName(user.slice(0, at)), token };
}
