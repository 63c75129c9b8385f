import {
  CulvertError,
  peerAddress,
  printable,
  readSessionReport,
  type StreamDetailView,
  type StreamPage,
} from '@culvert/protocol';
import { z } from 'zod';
import type { LiveStream } from '../../observe/stream-record.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { claimsView, streamView } from '../documents/stream.ts';
import { StreamFollowing } from '../event-stream/stream-events.ts';
import { streamFilter, streamPage, streamQuery } from '../event-stream/stream-filter.ts';

const params = z.object({ streamId: z.string() });
/** Maximum characters of a reason: an ASCII reason of this length, with the text before it, fits into a close frame. */
const closing = z.looseObject({ reason: z.string().max(80).optional() });

/** The current streams: `/streams`. A Culvert extension, so errors are RFC 9457 problem documents (docs/operating/live-view.md). */
export function liveStreamRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const { live, clock } = deps;
  const following = new StreamFollowing(live, clock);
  const problem = { config: { errors: 'problem' as const } };
  const options = { ...problem, ...authorization.to('monitor.read') };
  const tags = ['live view'];
  const view = (stream: LiveStream) => streamView(stream, live.counters(stream.streamId));

  api.get('/streams', { ...options, schema: { querystring: streamQuery, tags } }, async (request) => {
    const { page, continuation } = streamPage(live.streams.list(), request.query);
    const answer: StreamPage = { streams: page.map(view), continuation };
    return answer;
  });

  api.get('/streams/events', { ...options, schema: { querystring: streamFilter, tags } }, async (request, reply) => {
    const principal = authorization.principal(request);
    live.subscribers.assertPlace();
    reply.hijack();
    await following.follow(reply.raw, principal, request.query);
  });

  api.get('/streams/:streamId', { ...options, schema: { params, tags } }, async (request) => {
    const stream = existing(live.streams.get(request.params.streamId));
    const { sessionId } = stream;
    const claims =
      sessionId === undefined ? [] : live.claims(stream).map((of) => claimsView({ ...stream, sessionId }, of));
    const answer: StreamDetailView = { ...view(stream), ...(claims.length === 0 ? {} : { claims }) };
    return answer;
  });

  api.post(
    '/streams/:streamId/session-report',
    { ...problem, ...authorization.to('stream.open'), schema: { params, tags } },
    async (request, reply) => {
      const report = readSessionReport(request.body);
      if (report === undefined) throw new CulvertError('argument_invalid', 'The body is not the report of a session.');
      deps.sessionReports.fromService(authorization.principal(request).name, request.params.streamId, report);
      return reply.code(204).send();
    },
  );

  api.delete(
    '/streams/:streamId',
    { ...problem, ...authorization.to('stream.close'), schema: { params, querystring: closing, tags } },
    async (request, reply) => {
      const principal = authorization.principal(request);
      const reason = request.query.reason === undefined ? undefined : printable(request.query.reason);
      const remoteAddress = peerAddress(request.raw.socket);
      const text = reason ? `An administrator closed the stream: ${reason}` : undefined;
      let isClosed = false;
      for (const { streamId, identity } of live.closable(request.params.streamId)) {
        const event = { type: 'stream-close-requested', ...identity, streamId, remoteAddress, reason } as const;
        deps.onEvent({ ...event, principal: principal.name });
        isClosed = live.closeStream(streamId, new CulvertError('closed_by_administrator', text)) || isClosed;
      }
      if (!isClosed) throw new CulvertError('stream_not_found');
      return reply.code(204).send();
    },
  );
}

function existing(stream: LiveStream | undefined): LiveStream {
  if (stream === undefined) throw new CulvertError('stream_not_found');
  return stream;
}
