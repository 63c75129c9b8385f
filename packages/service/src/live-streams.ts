import {
  CulvertError,
  isStreamId,
  type LimitView,
  type StreamDetailView,
  type StreamNotice,
  type StreamPage,
  type StreamView,
} from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/** A filter of streams; all given fields must match. */
export interface StreamFilter {
  readonly deviceId?: string | undefined;
  readonly moduleId?: string | undefined;
  /** The principal that requested the stream, such as `policy:service`. */
  readonly caller?: string | undefined;
}

/** The events of a subscription: the current streams, `ready`, then changes. */
export type FollowedStream = Exclude<StreamNotice, { event: 'cut' }>;

/** The current streams. Requires the permission `MonitorRead`; closing one requires `RegistryWrite`. Every method rejects with a CulvertError. */
export class LiveStreams {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /** Yields all current streams, in the order of their requests; pages are fetched as needed. */
  async *list(filter: StreamFilter = {}): AsyncGenerator<StreamView, void, undefined> {
    let continuation: string | null = null;
    do {
      const query = filterQuery(filter);
      query.set('top', '1000');
      if (continuation !== null) query.set('continuation', continuation);
      const page = await this.#page(query);
      yield* page.streams;
      continuation = page.continuation;
    } while (continuation !== null);
  }

  /** One stream, with what the ends claim about the session in it. @throws CulvertError `stream_not_found` */
  async get(streamId: string): Promise<StreamDetailView> {
    const { body } = await this.#rest.send({ method: 'GET', path: path(streamId) });
    return jsonObject<StreamDetailView>(body, 'streamId', 'deviceId', 'state');
  }

  /**
   * Ends a stream, also during its handshake, and the session in it, which is not resumed. Both sides are notified within a second. A session whose link is
   * lost at the moment is told when it asks for the next one.
   * @param streamId the id of the stream, of the last one that carried a session, or of the session
   * @param reason sent to both sides, at most 80 characters
   * @throws CulvertError `stream_not_found`
   */
  async close(streamId: string, reason?: string): Promise<void> {
    const query = reason === undefined ? '' : `?${new URLSearchParams({ reason })}`;
    await this.#rest.send({ method: 'DELETE', path: `${path(streamId)}${query}` });
  }

  /**
   * Yields every current stream, then `ready`, then every change as it happens, until the caller stops reading. When the token has expired,
   * the subscription is repeated from the beginning, so streams may be yielded again.
   * @throws CulvertError `stalled` if changes are not read fast enough, `unreachable`, `revoked`, `draining`, `too_many_requests`; the signal's reason
   */
  follow(filter: StreamFilter = {}, signal?: AbortSignal): AsyncGenerator<FollowedStream, void, undefined> {
    return this.#rest.follow<StreamNotice>(`/streams/events?${filterQuery(filter)}`, signal);
  }

  /** Returns the limits on streams: the value of each, its current use, and how often it was reached. */
  async limits(): Promise<LimitView[]> {
    const { body } = await this.#rest.send({ method: 'GET', path: '/limits' });
    return objectsOf<LimitView>(jsonObject<{ limits: unknown }>(body).limits, 'name', 'unit');
  }

  async #page(query: URLSearchParams): Promise<StreamPage> {
    const { body } = await this.#rest.send({ method: 'GET', path: `/streams?${query}` });
    const { streams, continuation } = jsonObject<StreamPage>(body);
    return { streams: objectsOf<StreamView>(streams, 'streamId', 'deviceId', 'state'), continuation };
  }
}

function filterQuery({ deviceId, moduleId, caller }: StreamFilter): URLSearchParams {
  const query = new URLSearchParams();
  if (deviceId !== undefined) query.set('device', deviceId);
  if (moduleId !== undefined) query.set('module', moduleId);
  if (caller !== undefined) query.set('caller', caller);
  return query;
}

function path(streamId: string): string {
  if (!isStreamId(streamId)) throw new CulvertError('argument_invalid', 'A stream id has 32 hexadecimal digits.');
  return `/streams/${streamId}`;
}
