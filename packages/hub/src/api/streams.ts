import {
  CulvertError,
  parseDeviceId,
  parseHandshakeTimes,
  parseStreamName,
  peerAddress,
  STREAM_HEADERS,
} from '@culvert/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { authorize } from '../auth/authorize.ts';
import type { StreamReply } from '../handshake/request-stream.ts';
import type { Api, ApiDeps, Authenticate } from './api-deps.ts';

/** `POST /twins/{id}/streams/{name}`: the service side of the handshake, held until the device has answered. */
export function streamRoutes(api: Api, deps: ApiDeps, authenticate: Authenticate): void {
  let held = 0;
  const params = z.object({ deviceId: z.string(), streamName: z.string() });
  api.post(
    '/twins/:deviceId/streams/:streamName',
    { schema: { params, tags: ['streams'] } },
    async (request, reply) => {
      const principal = await authenticate(request, request.params.deviceId);
      authorize(principal, 'stream.open');
      const deviceId = parseDeviceId(request.params.deviceId);
      const streamName = parseStreamName(request.params.streamName);
      const times = parseHandshakeTimes(
        header(request, STREAM_HEADERS.connectTimeout),
        header(request, STREAM_HEADERS.responseTimeout),
      );
      if (held >= deps.limits.maxHeldRequests) throw new CulvertError('too_many_requests');
      held++;
      const caller = callerSignal(reply);
      try {
        const remoteAddress = peerAddress(request.raw.socket);
        const answer = await deps.requestStream({
          deviceId,
          streamName,
          principal,
          remoteAddress,
          times,
          signal: caller.signal,
        });
        return await send(reply, answer);
      } finally {
        caller.dispose();
        held--;
      }
    },
  );
}

/** A signal that is aborted when the caller's connection goes before the answer was written. */
function callerSignal(reply: FastifyReply): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const onClose = () => controller.abort(new CulvertError('withdrawn'));
  if (reply.raw.destroyed) onClose();
  reply.raw.once('close', onClose);
  return { signal: controller.signal, dispose: () => reply.raw.removeListener('close', onClose) };
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  // A header given twice reaches us joined by a comma, which is no number.
  return Array.isArray(value) ? value.join(',') : value;
}

function send(reply: FastifyReply, answer: StreamReply): FastifyReply {
  reply.header(STREAM_HEADERS.streamId, answer.streamId);
  if (!answer.accepted) {
    reply.header(STREAM_HEADERS.isAccepted, 'False');
    if (answer.reason !== '') reply.header(STREAM_HEADERS.rejectReason, encodeURIComponent(answer.reason));
    return reply.code(200).send();
  }
  return reply
    .code(200)
    .header(STREAM_HEADERS.isAccepted, 'True')
    .header(STREAM_HEADERS.url, answer.grant.url)
    .header(STREAM_HEADERS.token, answer.grant.token)
    .header('cache-control', 'no-store')
    .send();
}
