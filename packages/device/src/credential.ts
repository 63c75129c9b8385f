import { type DeviceConnectionString, formatAuthority, signSasToken } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';

/** What one connection proves itself with. */
export interface Proof {
  /** A SAS token. */
  readonly token: string;
  /** Milliseconds since the epoch at which to connect anew with another; undefined when there is no other. */
  readonly renewAt: number | undefined;
  /** Milliseconds since the epoch at which the hub will close the connection; undefined when only the hub knows. */
  readonly expiresAt: number | undefined;
}

/** The part of a token's life after which it is renewed; the rest is there for retries, and spread so that a fleet does not come at once. */
const RENEW_FROM = 0.8;
const RENEW_SPREAD = 0.1;

/** A device's key, from which a token is made for each connection, or a token made elsewhere, which serves until it expires. */
export class Credential {
  readonly #identity: DeviceConnectionString;
  readonly #lifetimeSeconds: number;
  readonly #clock: Clock;
  readonly #random: () => number;

  /** @param options.lifetimeSeconds of the tokens made here */
  constructor(
    identity: DeviceConnectionString,
    options: { readonly lifetimeSeconds: number; readonly clock: Clock; readonly random: () => number },
  ) {
    this.#identity = identity;
    this.#lifetimeSeconds = options.lifetimeSeconds;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** Proof for the next connection. */
  async next(): Promise<Proof> {
    const { host, port, deviceId, key, policy, token } = this.#identity;
    if (token !== undefined) return { token, renewAt: undefined, expiresAt: undefined };
    const now = this.#clock.now();
    const expiry = Math.floor(now / 1_000) + this.#lifetimeSeconds;
    const audience = `${formatAuthority(host, port)}/devices/${deviceId}`;
    return {
      token: await signSasToken({ audience, key: key ?? '', expiry, ...(policy === undefined ? {} : { policy }) }),
      renewAt: now + this.#lifetimeSeconds * 1_000 * (RENEW_FROM + RENEW_SPREAD * this.#random()),
      expiresAt: expiry * 1_000,
    };
  }
}
