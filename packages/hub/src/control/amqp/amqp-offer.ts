import { randomBytes } from 'node:crypto';
import {
  formatOfferExtensions,
  type Offer,
  readSessionAnswer,
  rejectReason,
  STREAM_PROPERTIES,
} from '@culvert/protocol';
import rhea, { type Message } from 'rhea';
import type { Answer } from '../control-channel.ts';

/** A new correlation id, which identifies an offer in its answer: a UUID, as 16 bytes. */
export function newCorrelationId(): Buffer {
  const id = randomBytes(16);
  id.writeUInt8((id.readUInt8(6) & 0x0f) | 0x40, 6);
  id.writeUInt8((id.readUInt8(8) & 0x3f) | 0x80, 8);
  return id;
}

/** Normalises a correlation id that was received as an AMQP uuid or a string; undefined when the hub cannot have sent it. */
export function correlationKey(id: unknown): string | undefined {
  if (Buffer.isBuffer(id)) return id.length === 16 ? id.toString('hex') : undefined;
  return typeof id === 'string' && id.length === 36 ? id.replaceAll('-', '').toLowerCase() : undefined;
}

/**
 * A stream request in the form Azure's clients expect: a uuid as correlation id, strings as application properties, an unencoded URL. The body
 * is the single byte that the C client also sends as an empty body.
 */
export function encodeOffer(offer: Offer, correlationId: Buffer): Buffer {
  return rhea.message.encode({
    correlation_id: correlationId,
    application_properties: {
      [STREAM_PROPERTIES.name]: offer.streamName,
      [STREAM_PROPERTIES.url]: offer.grant.url,
      [STREAM_PROPERTIES.token]: offer.grant.token,
      ...formatOfferExtensions(offer),
    },
    body: rhea.message.data_section(Buffer.from(' ')),
  });
}

/** The answer in a message on the streams link, and the key of the offer it answers; undefined when the message is not an answer. */
export function readAnswer(message: Message): { readonly key: string; readonly answer: Answer } | undefined {
  const key = correlationKey(message.correlation_id);
  const properties = message.application_properties ?? {};
  const accepted: unknown = properties[STREAM_PROPERTIES.isAccepted];
  if (key === undefined) return undefined;
  // rhea decodes the one-byte form of a boolean as a number.
  if (accepted === true || accepted === 1) {
    const session = readSessionAnswer(properties[STREAM_PROPERTIES.session]);
    return { key, answer: { accepted: true, ...(session === undefined ? {} : { session }) } };
  }
  if (accepted !== false && accepted !== 0) return undefined;
  const reason: unknown = properties[STREAM_PROPERTIES.rejectReason];
  return { key, answer: { accepted: false, reason: typeof reason === 'string' ? rejectReason(reason) : '' } };
}
