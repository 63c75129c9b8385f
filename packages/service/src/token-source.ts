import { formatAuthority, type ServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';

/** Seconds of a token's lifetime: an hour, as in Azure's own clients. */
const LIFETIME_SECONDS = 3_600;

/** Milliseconds before a token's expiry at which a new one is created: a request takes up to 70 s, and the hub's clock may differ a little. */
const RENEW_BEFORE_MS = 300_000;

/** Creates SAS tokens of a policy for the whole hub: on first use, then cached and renewed in time. */
export class TokenSource {
  readonly #credential: ServiceConnectionString;
  readonly #clock: Clock;
  #token: Promise<string> | undefined;
  #renewAt = 0;

  constructor(credential: ServiceConnectionString, clock: Clock) {
    this.#credential = credential;
    this.#clock = clock;
  }

  /** Returns a token that is valid for at least five more minutes. */
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
