import {
  CulvertError,
  type DeviceConnectionString,
  formatAuthority,
  identityPath,
  signSasToken,
} from '@culvert/protocol';
import type { ClientCertificate, Clock } from '@culvert/stream';

/** The credential of one connection. */
export interface Proof {
  /** A SAS token; undefined with a certificate. */
  readonly token: string | undefined;
  /** Presented to the hub in the TLS handshake; undefined with a token. */
  readonly certificate: ClientCertificate | undefined;
  /** Milliseconds since the epoch at which to reconnect with a new credential; undefined if this client cannot create a new one. */
  readonly renewAt: number | undefined;
  /** Milliseconds since the epoch at which the hub will close the connection; undefined if this client does not determine it. */
  readonly expiresAt: number | undefined;
}

/** The share of a token's lifetime after which it is renewed at the earliest. The remaining lifetime allows retries. */
const RENEW_FROM = 0.8;
/** The random share of the lifetime by which the renewal may be later, so that many devices do not reconnect at the same moment. */
const RENEW_SPREAD = 0.1;

export interface CredentialOptions {
  /** Required if the connection string contains `x509=true`; not allowed otherwise. */
  readonly certificate?: ClientCertificate | undefined;
  /** Lifetime of the created tokens, in seconds. */
  readonly lifetimeSeconds: number;
  readonly clock: Clock;
  readonly random: () => number;
}

/** A device's key, with which a token is created for each connection; or a given token or certificate, which is used until it expires. */
export class Credential {
  readonly #identity: DeviceConnectionString;
  readonly #certificate: ClientCertificate | undefined;
  readonly #lifetimeSeconds: number;
  readonly #clock: Clock;
  readonly #random: () => number;

  /** @throws CulvertError `argument_invalid` if the connection string requires a certificate and none is given, or the other way round */
  constructor(identity: DeviceConnectionString, options: CredentialOptions) {
    const { certificate } = options;
    if (identity.x509 === true && certificate === undefined)
      throw new CulvertError('argument_invalid', 'The connection string says x509=true, but no certificate was given.');
    if (identity.x509 !== true && certificate !== undefined)
      throw new CulvertError(
        'argument_invalid',
        'A certificate was given, but the connection string says to authenticate with a key or a token: it does not contain x509=true.',
      );
    this.#identity = identity;
    this.#certificate = certificate;
    this.#lifetimeSeconds = options.lifetimeSeconds;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** Creates the credential for the next connection. */
  async next(): Promise<Proof> {
    const { host, port, key, policy, token } = this.#identity;
    const certificate = this.#certificate;
    // This client does not evaluate the expiry of a given token or certificate; the hub does.
    if (token !== undefined || certificate !== undefined)
      return { token, certificate, renewAt: undefined, expiresAt: undefined };
    const now = this.#clock.now();
    const expiry = Math.floor(now / 1_000) + this.#lifetimeSeconds;
    const audience = `${formatAuthority(host, port)}/${identityPath(this.#identity)}`;
    return {
      certificate,
      token: await signSasToken({ audience, key: key ?? '', expiry, ...(policy === undefined ? {} : { policy }) }),
      renewAt: now + this.#lifetimeSeconds * 1_000 * (RENEW_FROM + RENEW_SPREAD * this.#random()),
      expiresAt: expiry * 1_000,
    };
  }
}
