import { formatAuthority, type ServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';

/** Seconds a token lives: an hour, as in Azure's own clients. */
const LIFETIME_SECONDS = 3_600;

/** Milliseconds before a token's expiry at which a new one is made: no request takes longer than 70 s, clocks differ a little. */
const RENEW_BEFORE_MS = 300_000;

/** A policy's SAS token for the whole hub, made on first use, cached, and renewed in time. */
export class TokenSource {
  readonly #credential: ServiceConnectionString;
  readonly #clock: Clock;
  #token: Promise<string> | undefined;
  #renewAt = 0;

  constructor(credential: ServiceConnectionString, clock: Clock) {
    this.#credential = credential;
    this.#clock = clock;
  }

  /** A token that is valid for at least five more minutes. */
  token(): Promise<string> {
    const now = this.#clock.now();
    if (this.#token === undefined || now >= this.#renewAt) {
      const expiry = Math.floor(now / 1_000) + LIFETIME_SECONDS;
      this.#renewAt = expiry * 1_000 - RENEW_BEFORE_MS;
      const { host, port, key, policy } = this.#credential;
      this.#token = signSasToken({ audience: formatAuthority(host, port), key, expiry, policy });
    }
    return this.#token;
  }
}
