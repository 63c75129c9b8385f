import { CulvertError } from '@culvert/protocol';
import { z } from 'zod';
import type { LiveStream } from '../../observe/stream-record.ts';

/** Maximum streams in one page: about 700 bytes each. */
const MAX_PAGE = 1_000;

/** A filter of streams by query parameters; all that are given must match. */
export const streamFilter = z.object({
  device: z.string().max(128).optional(),
  module: z.string().max(128).optional(),
  /** A principal's name, such as `policy:service`. */
  caller: z.string().max(512).optional(),
});
export type StreamFilter = z.infer<typeof streamFilter>;

/** {@link streamFilter} and paging. */
export const streamQuery = z.object({
  ...streamFilter.shape,
  top: z.coerce.number().int().min(1).max(MAX_PAGE).default(100),
  /** From the previous page. */
  continuation: z.string().max(64).optional(),
});

/** Whether a stream matches the filter. */
export function matchesFilter(
  stream: Pick<LiveStream, 'deviceId' | 'moduleId' | 'caller'>,
  filter: StreamFilter,
): boolean {
  return (
    (filter.device === undefined || stream.deviceId === filter.device) &&
    (filter.module === undefined || stream.moduleId === filter.module) &&
    (filter.caller === undefined || stream.caller === filter.caller)
  );
}

/**
 * One page of streams, in the order of their requests. A stream that begins or ends between two pages does not shift the others.
 * @throws CulvertError `argument_invalid` for a malformed continuation token
 */
export function streamPage(
  streams: readonly LiveStream[],
  query: z.infer<typeof streamQuery>,
): { page: LiveStream[]; continuation: string | null } {
  const after = query.continuation === undefined ? undefined : parseContinuation(query.continuation);
  const matching = streams.filter(
    (stream) => matchesFilter(stream, query) && (after === undefined || compare(stream, after) > 0),
  );
  matching.sort(compare);
  const page = matching.slice(0, query.top);
  const last = page.at(-1);
  const more = matching.length > page.length && last !== undefined;
  return { page, continuation: more ? `${last.requestedAt}-${last.streamId}` : null };
}

type StreamCursor = Pick<LiveStream, 'requestedAt' | 'streamId'>;

function compare(a: StreamCursor, b: StreamCursor): number {
  if (a.requestedAt !== b.requestedAt) return a.requestedAt - b.requestedAt;
  return a.streamId < b.streamId ? -1 : a.streamId > b.streamId ? 1 : 0;
}

function parseContinuation(text: string): StreamCursor {
  const match = /^(\d{1,16})-([0-9a-f]{32})$/.exec(text);
  if (match === null) throw new CulvertError('argument_invalid', 'The continuation token was not issued by this hub.');
  return { requestedAt: Number(match[1]), streamId: match[2] as string };
}
