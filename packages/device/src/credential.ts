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
  /** Presented to the hub in the TLS handshake. */
  readonly certificate: ClientCertificate | undefined;
  /** Milliseconds since the epoch at which to reconnect with a new credential; undefined when there is none. */
  readonly renewAt: number | undefined;
  /** Milliseconds since the epoch at which the hub will close the connection; undefined when only the hub knows. */
  readonly expiresAt: number | undefined;
}

/** The share of a token's lifetime after which it is renewed; the rest allows retries, and is randomised so that a fleet does not reconnect at once. */
const RENEW_FROM = 0.8;
const RENEW_SPREAD = 0.1;

export interface CredentialOptions {
  /** For a connection string that says `x509=true`, and no other. */
  readonly certificate?: ClientCertificate | undefined;
  /** Seconds that the tokens made here live. */
  readonly lifetimeSeconds: number;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * A device's key, from which a token is made for each connection; or a ready-made token or a certificate, used until it expires.
 */
export class Credential {
  readonly #identity: DeviceConnectionString;
  readonly #certificate: ClientCertificate | undefined;
  readonly #lifetimeSeconds: number;
  readonly #clock: Clock;
  readonly #random: () => number;

  /** @throws CulvertError `argument_invalid` when the connection string wants a certificate and there is none, or the other way round */
  constructor(identity: DeviceConnectionString, options: CredentialOptions) {
    const { certificate } = options;
    if (identity.x509 === true && certificate === undefined)
      throw new CulvertError('argument_invalid', 'The connection string says x509=true, but no certificate was given.');
    if (identity.x509 !== true && certificate !== undefined)
      throw new CulvertError(
        'argument_invalid',
        'A certificate was given, but the connection string says by which key or token the device proves itself, not x509=true.',
      );
    this.#identity = identity;
    this.#certificate = certificate;
    this.#lifetimeSeconds = options.lifetimeSeconds;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** The credential for the next connection. */
  async next(): Promise<Proof> {
    const { host, port, key, policy, token } = this.#identity;
    const certificate = this.#certificate;
    // Only the hub knows when these expire.
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
