import { CulvertError } from '@culvert/protocol';
import { AMQP_LIMITS } from './amqp-limits.ts';
import { broken } from './encoding.ts';
import { checkMessage } from './message-check.ts';
import type { Performative } from './performative.ts';

/** What all sessions of a connection share. */
export interface SharedBounds {
  /** Bytes of a message, and of all messages of the connection that have begun and not ended. */
  readonly maxMessageBytes: number;
  /** Bytes of messages that have begun and not ended. */
  unfinished: number;
  /** Links attached, over all sessions. */
  links: number;
  readonly maxLinks: () => number;
}

interface LinkState {
  readonly name: string;
  /** The peer sends on it. */
  readonly peerSends: boolean;
  /** The message that has begun and not ended. */
  unfinished: Unfinished | undefined;
}

interface Unfinished {
  readonly deliveryId: number;
  readonly isMessage: boolean;
  readonly pieces: Buffer[];
  bytes: number;
}

/** Outcomes and the state of a transfer under way (AMQP 1.0 §3.4): received to modified. */
const isDeliveryState = (code: number) => code >= 0x23 && code <= 0x27;

const SOURCE = 0x28;
const TARGET = 0x29;

/**
 * What a peer may say within one session, as far as saying something else would make the engine behind fail, wait or hold what it cannot
 * bound. Each frame is checked before the engine sees it.
 */
export class SessionRules {
  readonly #shared: SharedBounds;
  /** The delivery id that the next message we send would have; below it they were sent. */
  readonly #nextSent: () => number;
  /** By handle. */
  readonly #links = new Map<number, LinkState>();
  readonly #names = new Set<string>();
  #nextDeliveryId: number | undefined;

  constructor(shared: SharedBounds, nextSent: () => number) {
    this.#shared = shared;
    this.#nextSent = nextSent;
  }

  /** @throws CulvertError `protocol_error`, `too_many_requests` */
  attach({ fields }: Performative): void {
    const name = fields.requiredString(0);
    const handle = fields.requiredUint(1);
    const peerSends = !fields.boolean(2);
    checkTerminus(fields.describedList(5), SOURCE);
    checkTerminus(fields.describedList(6), TARGET);
    fields.uint(9);
    fields.map(13);
    if (this.#links.has(handle)) throw broken('A handle that is in use.');
    if (this.#names.has(name)) throw broken('A second link of one name in a session.');
    if (this.#shared.links >= this.#shared.maxLinks())
      throw new CulvertError('too_many_requests', 'Too many links on one connection.');
    this.#links.set(handle, { name, peerSends, unfinished: undefined });
    this.#names.add(name);
    this.#shared.links++;
  }

  /** @throws CulvertError `protocol_error` */
  detach({ fields }: Performative): void {
    const handle = fields.requiredUint(0);
    this.#forget(handle, this.#link(handle));
    fields.describedList(2);
  }

  /** @throws CulvertError `protocol_error` */
  flow({ fields }: Performative): void {
    for (const index of [1, 2, 3]) fields.requiredUint(index);
    for (const index of [0, 5, 6]) fields.uint(index);
    const handle = fields.uint(4);
    if (handle === undefined) return;
    // Draining is for the receiver of messages to ask for; we do not.
    if (this.#link(handle).peerSends && fields.boolean(8)) throw broken('A drain by the sender of messages.');
  }

  /** @throws CulvertError `protocol_error`, `too_large`, `not_supported` */
  transfer({ fields, payload }: Performative): void {
    const link = this.#link(fields.requiredUint(0));
    if (!link.peerSends) throw broken('A message on a link on which the peer receives.');
    if (fields.boolean(9)) throw new CulvertError('not_supported', 'Aborted deliveries are not supported.');
    const deliveryId = fields.uint(1);
    fields.binary(2);
    fields.describedList(7);
    const unfinished = link.unfinished ?? this.#begin(deliveryId, fields.uint(3), payload);
    if (deliveryId !== undefined && deliveryId !== unfinished.deliveryId)
      throw broken('A delivery begun before the one on its link was complete.');
    link.unfinished = unfinished;
    this.#grow(unfinished, payload);
    if (!fields.boolean(5)) this.#finish(link);
  }

  /** @throws CulvertError `protocol_error` */
  disposition({ fields }: Performative): void {
    const first = fields.requiredUint(1);
    const last = fields.uint(2) ?? first;
    if (last - first >= AMQP_LIMITS.deliveries) throw broken('A disposition of more deliveries than there can be.');
    if (fields.boolean(0) && last >= this.#nextSent()) throw broken('A disposition of what was not sent.');
    const state = fields.describedList(4);
    if (state !== undefined && !isDeliveryState(state)) throw broken('A disposition with an unknown outcome.');
  }

  /** The session is over, and all on it. */
  end(): void {
    for (const [handle, link] of this.#links) this.#forget(handle, link);
  }

  #begin(deliveryId: number | undefined, format: number | undefined, payload: Buffer): Unfinished {
    if (deliveryId === undefined) throw broken('A delivery without an id.');
    if (payload.length === 0) throw broken('A delivery that begins with nothing.');
    this.#nextDeliveryId ??= deliveryId;
    if (deliveryId !== this.#nextDeliveryId) throw broken('A delivery out of order.');
    this.#nextDeliveryId = (deliveryId + 1) % 2 ** 32;
    return { deliveryId, isMessage: format === 0, pieces: [], bytes: 0 };
  }

  #grow(unfinished: Unfinished, payload: Buffer): void {
    const bytes = Math.max(payload.length, AMQP_LIMITS.leastPieceBytes);
    unfinished.bytes += bytes;
    this.#shared.unfinished += bytes;
    if (this.#shared.unfinished > this.#shared.maxMessageBytes)
      throw new CulvertError('too_large', `A message of more than ${this.#shared.maxMessageBytes} bytes.`);
    unfinished.pieces.push(payload);
  }

  #finish(link: LinkState): void {
    const { unfinished } = link;
    if (unfinished === undefined) return;
    link.unfinished = undefined;
    this.#shared.unfinished -= unfinished.bytes;
    const [first, ...more] = unfinished.pieces;
    if (first === undefined || !unfinished.isMessage) return;
    checkMessage(more.length === 0 ? first : Buffer.concat(unfinished.pieces));
  }

  #forget(handle: number, link: LinkState): void {
    this.#shared.unfinished -= link.unfinished?.bytes ?? 0;
    this.#shared.links--;
    this.#links.delete(handle);
    this.#names.delete(link.name);
  }

  #link(handle: number): LinkState {
    const link = this.#links.get(handle);
    if (link === undefined) throw broken('A handle that is not in use.');
    return link;
  }
}

function checkTerminus(code: number | undefined, expected: number): void {
  if (code === undefined || code === expected) return;
  throw new CulvertError('not_supported', 'Only sources and targets of links are supported, no transactions.');
}
