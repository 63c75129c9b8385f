import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';

/** The current credential of a connection or channel; calls back when it expires without having been renewed. */
export class CredentialExpiry {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #principal: Principal;
  #timer: Timer | undefined;

  constructor(principal: Principal, clock: Clock, onExpired: () => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
    this.#principal = principal;
    this.#arm();
  }

  get principal(): Principal {
    return this.#principal;
  }

  /** Replaces the credential with a newer one. */
  renew(principal: Principal): void {
    this.#principal = principal;
    this.#arm();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.cancel();
    const ms = this.#principal.expiresAt - this.#clock.now();
    if (ms !== Number.POSITIVE_INFINITY) this.#timer = this.#clock.setTimer(Math.max(0, ms), this.#onExpired);
  }
}
