import type { ServerResponse } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';
import { principalStillHolds } from '../../auth/revocation.ts';
import type { RegistryListener } from '../../registry/registry.ts';
import { Follower, type Notice } from './subscriber.ts';

/** Maximum subscribers: each may queue 1 MiB, and every event is formatted for each. */
const MAX_FOLLOWERS = 32;

/** All subscribers of server-sent events, on all routes. */
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

  /** Takes over a response to which nothing was written yet. @param onGone called once, when the subscription has ended */
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

  /** Sends an event to one subscriber, or disconnects it when it is too slow. */
  tell(follower: Follower, notice: Notice): void {
    if (follower.send(notice)) return;
    follower.cut(new CulvertError('stalled', 'This follower is too slow for what happens; follow anew.'));
  }

  /** Disconnects subscribers whose policy key was removed. */
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

  /** Refuses new subscribers and disconnects all with a reason; resolves when they are gone. */
  async close(error: CulvertError): Promise<void> {
    this.#closing = error;
    await Promise.all([...this.#followers].map((follower) => follower.leave(error)));
  }
}
