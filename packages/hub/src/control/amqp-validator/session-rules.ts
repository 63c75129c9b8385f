import { CulvertError } from '@culvert/protocol';
import { AMQP_LIMITS } from './amqp-limits.ts';
import { broken } from './encoding.ts';
import { checkMessage } from './message-check.ts';
import type { Performative } from './performative.ts';

/** Limits and counts that all sessions of a connection share. */
export interface SharedBounds {
  /** Maximum bytes of a message, and of all incomplete messages of the connection together. */
  readonly maxMessageBytes: number;
  /** Bytes of all incomplete messages. */
  unfinished: number;
  /** Attached links of all sessions. */
  links: number;
  readonly maxLinks: () => number;
}

interface LinkState {
  readonly name: string;
  /** Whether the peer is the sender on the link. */
  readonly peerSends: boolean;
  /** The incomplete message. */
  unfinished: Unfinished | undefined;
}

interface Unfinished {
  readonly deliveryId: number;
  readonly isMessage: boolean;
  readonly pieces: Buffer[];
  bytes: number;
}

/** Whether a descriptor code is a delivery state: `received` or an outcome up to `modified` (AMQP 1.0 §3.4). */
const isDeliveryState = (code: number) => code >= 0x23 && code <= 0x27;

const SOURCE = 0x28;
const TARGET = 0x29;

/**
 * Checks the performatives within one session before they are fed to the engine. Refuses those that would make the engine fail, wait, or buffer
 * without limit.
 */
export class SessionRules {
  readonly #shared: SharedBounds;
  /** The delivery id that the hub's next message will have; messages with lower ids have been sent. */
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
    if (this.#names.has(name)) throw broken('Two links of the same name in one session.');
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
    // Only the receiver may request a drain, and on this link the hub is the receiver.
    if (this.#link(handle).peerSends && fields.boolean(8))
      throw broken('A drain that the sender of messages requests.');
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
      throw broken('A delivery that begins before the previous one on its link is complete.');
    link.unfinished = unfinished;
    this.#append(unfinished, payload);
    if (!fields.boolean(5)) this.#finish(link);
  }

  /** @throws CulvertError `protocol_error` */
  disposition({ fields }: Performative): void {
    const first = fields.requiredUint(1);
    const last = fields.uint(2) ?? first;
    if (last - first >= AMQP_LIMITS.deliveries)
      throw broken('A disposition of more deliveries than a session can have.');
    if (fields.boolean(0) && last >= this.#nextSent()) throw broken('A disposition of a delivery that was not sent.');
    const state = fields.describedList(4);
    if (state !== undefined && !isDeliveryState(state)) throw broken('A disposition with an unknown outcome.');
  }

  /** The session has ended, and with it all its links. */
  end(): void {
    for (const [handle, link] of this.#links) this.#forget(handle, link);
  }

  #begin(deliveryId: number | undefined, format: number | undefined, payload: Buffer): Unfinished {
    if (deliveryId === undefined) throw broken('A delivery without an id.');
    if (payload.length === 0) throw broken('A delivery whose first frame has no payload.');
    this.#nextDeliveryId ??= deliveryId;
    if (deliveryId !== this.#nextDeliveryId) throw broken('A delivery out of order.');
    this.#nextDeliveryId = (deliveryId + 1) % 2 ** 32;
    return { deliveryId, isMessage: format === 0, pieces: [], bytes: 0 };
  }

  #append(unfinished: Unfinished, payload: Buffer): void {
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
  throw new CulvertError('not_supported', 'Only sources and targets of links are supported, not transactions.');
}
