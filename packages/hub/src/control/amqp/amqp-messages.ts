import rhea, { type Message } from 'rhea';

/**
 * A message id in the form in which to send it back as the correlation id. rhea decodes uuid and binary alike, so an id of 16 bytes is taken to be a
 * uuid, which clients use.
 */
export function echoedId(id: Message['message_id']): unknown {
  return Buffer.isBuffer(id) && id.length !== 16 ? rhea.types.wrap_binary(id) : id;
}

/** The text of a message's body, an AMQP string or one data section of UTF-8; undefined when there is none, or it exceeds `maxBytes`. */
export function bodyText({ body }: Message, maxBytes: number): string | undefined {
  const content: unknown = typeof body === 'object' && body !== null ? body.content : body;
  if (typeof content !== 'string' && !Buffer.isBuffer(content)) return undefined;
  const text = content.toString();
  return Buffer.byteLength(text) > maxBytes ? undefined : text;
}
