import type { IncomingMessage } from 'node:http';

/** The media type of server-sent events. */
export const EVENT_STREAM = 'text/event-stream';

/**
 * Restricts a route to requests that accept server-sent events, by `constraints: { accept: EVENT_STREAM }`; other requests are routed to the other
 * route with the same path.
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
