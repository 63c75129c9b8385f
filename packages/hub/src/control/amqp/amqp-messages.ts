import rhea, { type Message } from 'rhea';

/**
 * A message id as it is to be sent back in the correlation id. rhea decodes uuid and binary alike; 16 bytes are taken for the uuid that clients
 * use.
 */
export function echoedId(id: Message['message_id']): unknown {
  return Buffer.isBuffer(id) && id.length !== 16 ? rhea.types.wrap_binary(id) : id;
}

/** The text of a message's body, an AMQP string or one data section of UTF-8; undefined when it has none, or one of more than `maxBytes`. */
export function bodyText({ body }: Message, maxBytes: number): string | undefined {
  const content: unknown = typeof body === 'object' && body !== null ? body.content : body;
  if (typeof content !== 'string' && !Buffer.isBuffer(content)) return undefined;
  const text = content.toString();
  return Buffer.byteLength(text) > maxBytes ? undefined : text;
}
