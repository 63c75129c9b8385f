import { randomUUID } from 'node:crypto';
import { CulvertError, type ErrorCode, formatErrorBody, printable } from '@culvert/protocol';
import type { FastifyError, FastifyReply } from 'fastify';

/** The format of a route's error bodies: Azure's own, or RFC 9457 on Culvert's own routes. */
export type ErrorFormat = 'azure' | 'problem';

/** Sends an error in the route's format. The one place where an error becomes an HTTP response. */
export function replyWithError(reply: FastifyReply, error: CulvertError, format: ErrorFormat): FastifyReply {
  const trackingId = randomUUID();
  reply.code(error.row.http).header('iothub-errorcode', error.row.azure[1]).header('x-ms-request-id', trackingId);
  if (error.row.http === 401) reply.header('www-authenticate', 'SharedAccessSignature');
  if (error.row.http === 429 || error.row.http === 503) reply.header('retry-after', '1');
  if (format === 'azure') {
    return reply.type('application/json; charset=utf-8').send(formatErrorBody(error, trackingId, new Date()));
  }
  return reply.type('application/problem+json; charset=utf-8').send(
    JSON.stringify({
      type: 'about:blank',
      title: error.row.azure[1],
      status: error.row.http,
      detail: error.message,
      code: error.code,
      instance: `urn:uuid:${trackingId}`,
    }),
  );
}

/** Converts an error of Fastify itself (body too large, schema violated) to a CulvertError. */
export function fromFastify(error: FastifyError | Error): CulvertError {
  if (error instanceof CulvertError) return error;
  if ('validation' in error && error.validation) return new CulvertError('argument_invalid', printable(error.message));
  const status = 'statusCode' in error ? error.statusCode : undefined;
  const byStatus: Record<number, ErrorCode> = {
    400: 'argument_invalid',
    404: 'route_not_found',
    413: 'too_large',
    415: 'argument_invalid',
  };
  const code = status === undefined ? undefined : byStatus[status];
  if (code !== undefined) return new CulvertError(code, printable(error.message), { cause: error });
  return new CulvertError('internal', undefined, { cause: error });
}
