import type { Identity } from '@culvert/protocol';
import type { KnownSessions } from '../observe/known-sessions.ts';
import type { LiveStreams } from '../observe/live-streams.ts';

/** A stream that an administrator may close; if it has ended, the session that it carried. */
export interface ClosableStream {
  readonly streamId: string;
  readonly identity: Identity;
}

/**
 * The streams that an id means: the one with this id, or the newest one of each session with this id. A session is found by its last stream too, since
 * that is the id an administrator has seen, and its stream may be lost at the moment.
 */
export function closableStreams(
  id: string,
  live: Pick<LiveStreams, 'get' | 'list'>,
  known: Pick<KnownSessions, 'ofStream' | 'withId'>,
): ClosableStream[] {
  const stream = live.get(id) ?? known.ofStream(id);
  if (stream !== undefined) return [closable(stream)];
  const sessions = known.withId(id).map(closable);
  // A session is not known before its first stream is established.
  const opening = live.list().filter(({ sessionId }) => sessionId === id);
  const found = new Map([...opening.map(closable), ...sessions].map((each) => [each.streamId, each]));
  return [...found.values()];
}

function closable(of: { readonly streamId: string } & (Identity | { readonly identity: Identity })): ClosableStream {
  if ('identity' in of) return { streamId: of.streamId, identity: of.identity };
  const { deviceId, moduleId } = of;
  return { streamId: of.streamId, identity: { deviceId, moduleId } };
}
