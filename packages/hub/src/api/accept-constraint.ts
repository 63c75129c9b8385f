import type { IncomingMessage } from 'node:http';

/** The media type of server-sent events. */
export const EVENT_STREAM = 'text/event-stream';

/**
 * Lets a route be for those alone who accept server-sent events, by `constraints: { accept: EVENT_STREAM }`; all others get what stands at
 * the address otherwise.
 */
export const eventStreamConstraint = {
  name: 'accept',
  storage<Handler>() {
    const handlers = new Map<unknown, Handler>();
    return {
      get: (type: unknown) => handlers.get(type) ?? null,
      set: (type: unknown, handler: Handler) => void handlers.set(type, handler),
    };
  },
  deriveConstraint: ({ headers }: IncomingMessage) => (acceptsEvents(headers.accept) ? EVENT_STREAM : undefined),
};

function acceptsEvents(header: string | undefined): boolean {
  return header?.split(',').some((type) => type.split(';', 1)[0]?.trim() === EVENT_STREAM) ?? false;
}
