import type { ServerResponse } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';
import { principalStillHolds } from '../../auth/revocation.ts';
import type { RegistryListener } from '../../registry/registry.ts';
import { type Notice, Subscriber } from './subscriber.ts';

/** Maximum subscribers: each may queue 1 MiB, and every event is formatted for each of them. */
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

  /** @throws CulvertError `too_many_requests` when there are {@link MAX_SUBSCRIBERS} already, `draining` */
  assertPlace(): void {
    if (this.#closing !== undefined) throw this.#closing;
    if (this.#subscribers.size >= MAX_SUBSCRIBERS)
      throw new CulvertError('too_many_requests', `There are ${MAX_SUBSCRIBERS} subscribers already.`);
  }

  /** Takes over a response to which nothing has been written. @param onGone called once, when the subscription has ended */
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
  send(subscriber: Subscriber, notice: Notice): void {
    if (subscriber.send(notice)) return;
    subscriber.cut(new CulvertError('stalled', 'This subscriber is too slow for the events; subscribe again.'));
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

  /** Refuses new subscribers and disconnects all others with the reason; resolves when their connections have closed. */
  async close(error: CulvertError): Promise<void> {
    this.#closing = error;
    await Promise.all([...this.#subscribers].map((subscriber) => subscriber.leave(error)));
  }
}
