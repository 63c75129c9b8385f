import { CulvertError } from '@culvert/protocol';
import { AMQP_LIMITS } from './amqp-limits.ts';
import { broken } from './encoding.ts';
import { PERFORMATIVES, type Performative } from './performative.ts';
import { SessionRules, type SharedBounds } from './session-rules.ts';

/** The limits of a connection; those on links and sessions grow with the number of identities on it. */
export interface ConnectionBounds {
  /** Maximum bytes of a message. */
  readonly maxMessageBytes: number;
  /** The number of authenticated identities. */
  readonly identities: () => number;
  /** The delivery id that the next message sent to the peer's session on `channel` would have. */
  readonly nextSent: (channel: number) => number;
}

/** The highest channel number a peer may use, announced to it. */
export const CHANNEL_MAX = AMQP_LIMITS.identities + AMQP_LIMITS.spareSessions - 1;

/** Checks the performatives of a connection against AMQP and the hub's limits; see {@link SessionRules} for those within a session. */
export class ConnectionRules {
  readonly #bounds: ConnectionBounds;
  readonly #shared: SharedBounds;
  readonly #sessions = new Map<number, SessionRules>();
  #opened = false;
  #closed = false;
  #peerIdleMs: number | undefined;

  constructor(bounds: ConnectionBounds) {
    this.#bounds = bounds;
    this.#shared = {
      maxMessageBytes: bounds.maxMessageBytes,
      unfinished: 0,
      links: 0,
      maxLinks: () => AMQP_LIMITS.spareLinks + bounds.identities() * AMQP_LIMITS.linksPerIdentity,
    };
  }

  /** The idle-time-out in the peer's open, in milliseconds; undefined when it has none, and before the open. */
  get peerIdleMs(): number | undefined {
    return this.#peerIdleMs;
  }

  /** @throws CulvertError `protocol_error`, `too_large`, `too_many_requests`, `not_supported` */
  check(performative: Performative): void {
    const { code } = performative;
    if (this.#closed) throw broken('A frame after the close of the connection.');
    if (!this.#opened) {
      if (code !== PERFORMATIVES.open) throw broken('The first performative was not an open.');
      this.#open(performative);
    } else this.#checkOpened(performative);
  }

  #checkOpened(performative: Performative): void {
    const { code, channel } = performative;
    switch (code) {
      case PERFORMATIVES.open:
        throw broken('A second open.');
      case PERFORMATIVES.begin:
        this.#begin(performative);
        return;
      case PERFORMATIVES.attach:
        this.#session(channel).attach(performative);
        return;
      case PERFORMATIVES.flow:
        this.#session(channel).flow(performative);
        return;
      case PERFORMATIVES.transfer:
        this.#session(channel).transfer(performative);
        return;
      case PERFORMATIVES.disposition:
        this.#session(channel).disposition(performative);
        return;
      case PERFORMATIVES.detach:
        this.#session(channel).detach(performative);
        return;
      case PERFORMATIVES.end:
        this.#session(channel).end();
        this.#sessions.delete(channel);
        performative.fields.describedList(0);
        return;
      case PERFORMATIVES.close:
        this.#closed = true;
        performative.fields.describedList(0);
        return;
      default:
        throw broken('An unknown performative.');
    }
  }

  #open({ fields }: Performative): void {
    fields.requiredString(0);
    fields.string(1);
    const frameBytes = fields.uint(2);
    if (frameBytes !== undefined && frameBytes < AMQP_LIMITS.leastFrameBytes)
      throw broken(`A max-frame-size of ${frameBytes}; AMQP requires at least ${AMQP_LIMITS.leastFrameBytes}.`);
    fields.ushort(3);
    // Some clients send 0 for "none".
    const idleMs = fields.uint(4) || undefined;
    if (idleMs !== undefined && idleMs < AMQP_LIMITS.leastIdleMs)
      throw new CulvertError(
        'not_supported',
        `An idle-time-out of ${idleMs} ms is too short; the hub supports at least ${AMQP_LIMITS.leastIdleMs} ms.`,
      );
    this.#peerIdleMs = idleMs;
    this.#opened = true;
  }

  #begin({ channel, fields }: Performative): void {
    if (fields.ushort(0) !== undefined) throw broken('A begin in answer to one that the hub did not send.');
    for (const index of [1, 2, 3]) fields.requiredUint(index);
    fields.uint(4);
    if (channel > CHANNEL_MAX) throw broken('A channel above the channel-max.');
    if (this.#sessions.has(channel)) throw broken('A begin on a channel that has a session.');
    if (this.#sessions.size >= AMQP_LIMITS.spareSessions + this.#bounds.identities())
      throw new CulvertError('too_many_requests', 'Too many sessions on one connection.');
    this.#sessions.set(channel, new SessionRules(this.#shared, () => this.#bounds.nextSent(channel)));
  }

  #session(channel: number): SessionRules {
    const session = this.#sessions.get(channel);
    if (session === undefined) throw broken('A channel without a session.');
    return session;
  }
}
