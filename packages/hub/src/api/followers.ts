import type { ServerResponse } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import { principalStillHolds } from '../auth/revocation.ts';
import type { RegistryListener } from '../registry/registry.ts';
import { Follower, type Notice } from './follower.ts';

/** Followers at once: each may hold 1 MiB, and costs a formatting of every event. */
const MAX_FOLLOWERS = 32;

/** Everybody who is told of events as they happen, on whichever route. */
export class Followers {
  readonly #clock: Clock;
  readonly #followers = new Set<Follower>();
  #closing: CulvertError | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#followers.size;
  }

  /** @throws CulvertError `too_many_requests` when there is no place, `draining` */
  assertPlace(): void {
    if (this.#closing !== undefined) throw this.#closing;
    if (this.#followers.size >= MAX_FOLLOWERS)
      throw new CulvertError('too_many_requests', `No more than ${MAX_FOLLOWERS} may follow at once.`);
  }

  /** Takes over an answer that nothing was written to. @param onGone told once, when it follows no more */
  add(response: ServerResponse, principal: Principal, onGone: () => void): Follower {
    const follower = new Follower(response, {
      principal,
      clock: this.#clock,
      onExpired: (one) => one.cut(new CulvertError('token_expired')),
      onGone: () => {
        this.#followers.delete(follower);
        onGone();
      },
    });
    this.#followers.add(follower);
    return follower;
  }

  /** Tells one follower, or cuts it when it is too slow. */
  tell(follower: Follower, notice: Notice): void {
    if (follower.send(notice)) return;
    follower.cut(new CulvertError('stalled', 'This follower is too slow for what happens; follow anew.'));
  }

  /** Cuts those whose policy's key was removed. */
  readonly revocation: RegistryListener = {
    identityChanged: () => undefined,
    authoritiesChanged: () => undefined,
    policyChanged: (policy) => {
      for (const follower of this.#followers) {
        if (!principalStillHolds(follower.principal, { policy }))
          follower.cut(new CulvertError('revoked', 'The key in use was removed.'));
      }
    },
  };

  /** Takes no more, and tells all why; resolves when they have gone. */
  async close(error: CulvertError): Promise<void> {
    this.#closing = error;
    await Promise.all([...this.#followers].map((follower) => follower.leave(error)));
  }
}
