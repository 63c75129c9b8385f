import type { ServerResponse } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';
import { principalStillHolds } from '../../auth/revocation.ts';
import type { RegistryListener } from '../../registry/registry.ts';
import { type Notice, Subscriber } from './subscriber.ts';

/** Maximum subscribers: each may queue 1 MiB, and every event is formatted for each. */
const MAX_SUBSCRIBERS = 32;

/** All subscribers of server-sent events, on all routes. */
export class Subscribers {
  readonly #clock: Clock;
  readonly #subscribers = new Set<Subscriber>();
  #closing: CulvertError | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#subscribers.size;
  }

  /** @throws CulvertError `too_many_requests` when there is no place, `draining` */
  assertPlace(): void {
    if (this.#closing !== undefined) throw this.#closing;
    if (this.#subscribers.size >= MAX_SUBSCRIBERS)
      throw new CulvertError('too_many_requests', `No more than ${MAX_SUBSCRIBERS} may follow at once.`);
  }

  /** Takes over a response to which nothing was written yet. @param onGone called once, when the subscription has ended */
  add(response: ServerResponse, principal: Principal, onGone: () => void): Subscriber {
    const subscriber = new Subscriber(response, {
      principal,
      clock: this.#clock,
      onExpired: (one) => one.cut(new CulvertError('token_expired')),
      onGone: () => {
        this.#subscribers.delete(subscriber);
        onGone();
      },
    });
    this.#subscribers.add(subscriber);
    return subscriber;
  }

  /** Sends an event to one subscriber, or disconnects it when it is too slow. */
  tell(subscriber: Subscriber, notice: Notice): void {
    if (subscriber.send(notice)) return;
    subscriber.cut(new CulvertError('stalled', 'This subscriber is too slow for what happens; subscribe again.'));
  }

  /** Disconnects subscribers whose policy key was removed. */
  readonly revocation: RegistryListener = {
    identityChanged: () => undefined,
    authoritiesChanged: () => undefined,
    policyChanged: (policy) => {
      for (const subscriber of this.#subscribers) {
        if (!principalStillHolds(subscriber.principal, { policy }))
          subscriber.cut(new CulvertError('revoked', 'The key in use was removed.'));
      }
    },
  };

  /** Refuses new subscribers and disconnects all with a reason; resolves when they are gone. */
  async close(error: CulvertError): Promise<void> {
    this.#closing = error;
    await Promise.all([...this.#subscribers].map((subscriber) => subscriber.leave(error)));
  }
}
