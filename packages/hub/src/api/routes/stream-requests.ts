import {
  CulvertError,
  formatNoSession,
  formatSessionAnswer,
  type Identity,
  isTraceParent,
  parseDeviceId,
  parseHandshakeTimes,
  parseModuleId,
  parseStreamName,
  peerAddress,
  STREAM_HEADERS,
} from '@culvert/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { StreamReply } from '../../handshake/request-stream.ts';
import { requestedSession } from '../../handshake/requested-session.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

const ofDevice = z.object({ deviceId: z.string(), streamName: z.string() });
const ofModule = z.object({ ...ofDevice.shape, moduleId: z.string() });

/**
 * `POST /twins/{id}/streams/{name}` and `POST /twins/{id}/modules/{module}/streams/{name}`: the service side of the handshake, held until the
 * device has answered.
 */
export function streamRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const open = async (request: FastifyRequest, reply: FastifyReply, params: StreamParams): Promise<FastifyReply> => {
    const principal = authorization.principal(request);
    const streamName = parseStreamName(params.streamName);
    const times = parseHandshakeTimes(
      header(request, STREAM_HEADERS.connectTimeout),
      header(request, STREAM_HEADERS.responseTimeout),
    );
    const identity = parseIdentity(params);
    const session = requestedSession(header(request, STREAM_HEADERS.session));
    const release = deps.hold({ identity, principal, session });
    const caller = callerSignal(reply);
    try {
      const remoteAddress = peerAddress(request.raw.socket);
      const traceParent = parseTraceParent(header(request, 'traceparent'));
      const asked = { identity, streamName, principal, remoteAddress, traceParent, session, times };
      return send(reply, await deps.requestStream({ ...asked, signal: caller.signal }));
    } finally {
      caller.dispose();
      release();
    }
  };
  const options = authorization.to('stream.open');
  const tags = ['streams'];
  api.post(
    '/twins/:deviceId/streams/:streamName',
    { ...options, schema: { params: ofDevice, tags } },
    (request, reply) => open(request, reply, request.params),
  );
  api.post(
    '/twins/:deviceId/modules/:moduleId/streams/:streamName',
    { ...options, schema: { params: ofModule, tags } },
    (request, reply) => open(request, reply, request.params),
  );
}

interface StreamParams extends Identity {
  readonly streamName: string;
}

function parseIdentity({ deviceId, moduleId }: Identity): Identity {
  return { deviceId: parseDeviceId(deviceId), moduleId: moduleId === undefined ? undefined : parseModuleId(moduleId) };
}

/** A malformed header is ignored, as the W3C recommendation Trace Context requires. */
function parseTraceParent(text: string | undefined): string | undefined {
  return text !== undefined && isTraceParent(text) ? text : undefined;
}

/** A signal that is aborted when the caller's connection closes before the response was written. */
function callerSignal(reply: FastifyReply): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const onClose = () => controller.abort(new CulvertError('withdrawn'));
  if (reply.raw.destroyed) onClose();
  reply.raw.once('close', onClose);
  return { signal: controller.signal, dispose: () => reply.raw.removeListener('close', onClose) };
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  // Duplicate headers are joined by a comma, so the result is not a valid number.
  return Array.isArray(value) ? value.join(',') : value;
}

function send(reply: FastifyReply, answer: StreamReply): FastifyReply {
  reply.header(STREAM_HEADERS.streamId, answer.streamId);
  if (!answer.accepted) {
    reply.header(STREAM_HEADERS.isAccepted, 'False');
    if (answer.reason !== '') reply.header(STREAM_HEADERS.rejectReason, encodeURIComponent(answer.reason));
    return reply.code(200).send();
  }
  const { session, noSession, idleMs } = answer;
  if (session !== undefined) reply.header(STREAM_HEADERS.session, formatSessionAnswer(session));
  if (noSession !== undefined) reply.header(STREAM_HEADERS.noSession, formatNoSession(noSession));
  if (idleMs !== undefined) reply.header(STREAM_HEADERS.idleMs, String(idleMs));
  return reply
    .code(200)
    .header(STREAM_HEADERS.isAccepted, 'True')
    .header(STREAM_HEADERS.url, answer.grant.url)
    .header(STREAM_HEADERS.token, answer.grant.token)
    .header('cache-control', 'no-store')
    .send();
}
