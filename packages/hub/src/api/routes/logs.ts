import {
  CONTINUATION_HEADER,
  CulvertError,
  ERRORS,
  type ErrorCode,
  isStreamId,
  LOG_CATEGORIES,
  MAX_LOG_PAGE,
  parseDeviceId,
  parseModuleId,
} from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Principal } from '../../auth/principal.ts';
import { principalStillHolds } from '../../auth/revocation.ts';
import type { LogCursor, LogFilter, WantedResult } from '../../observe/log-store/log-query.ts';
import { parseRecordId } from '../../observe/resource-log/log-entry.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { replyWithFollowing } from '../event-stream/log-events.ts';

const logQuery = z.strictObject({
  device: z.string().optional(),
  module: z.string().optional(),
  category: z.enum(LOG_CATEGORIES).optional(),
  result: z.string().max(64).optional(),
  since: z.string().max(64).optional(),
  until: z.string().max(64).optional(),
  stream: z.string().optional(),
  top: z.coerce.number().int().min(1).max(MAX_LOG_PAGE).default(100),
  order: z.enum(['newest', 'oldest']).default('newest'),
  follow: z.enum(['true', 'false']).optional(),
  'api-version': z.string().optional(),
});

/**
 * The resource log by REST: `GET /logs`, newest first, in pages; with `follow=true` or as `text/event-stream`, new records as server-sent
 * events. A Culvert extension, so errors are RFC 9457 problem documents.
 */
export function logRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const options = {
    config: { errors: 'problem' as const },
    ...authorization.to('monitor.read'),
    schema: { querystring: logQuery, tags: ['logs'] },
  };
  api.get('/logs', options, async (request, reply) => {
    const { query } = request;
    const filter = parseFilter(query);
    if (query.follow === 'true' || (query.follow === undefined && wantsEvents(request))) {
      const principal = authorization.principal(request);
      const following = deps.logs.follow(filter, lastEventId(request));
      const stillHolds = () => holds(principal, deps);
      const { expiresAt } = principal;
      return replyWithFollowing(reply, following, { clock: deps.clock, expiresAt, stillHolds });
    }
    const { top, order } = query;
    const { records, next } = await deps.logs.list({ ...filter, top, order, after: continuation(request) });
    if (next !== undefined) {
      reply.header(CONTINUATION_HEADER, Buffer.from(JSON.stringify(next)).toString('base64url'));
    }
    return reply
      .header('cache-control', 'no-store')
      .type('application/json; charset=utf-8')
      .send(`{"records":[${records.map(({ json }) => json).join(',')}]}`);
  });
}

/** Whether the key that authenticated a subscriber is still one of its policy's keys. */
async function holds(principal: Principal, { policies }: Pick<ApiDeps, 'policies'>): Promise<boolean> {
  const { owner } = principal.proof;
  if (owner.kind !== 'policy') return true;
  try {
    const policy = await policies.get(owner.policy);
    return policy !== undefined && principalStillHolds(principal, { policy });
  } catch {
    // The registry did not answer; the next check asks it again.
    return true;
  }
}

function parseFilter(query: z.infer<typeof logQuery>): LogFilter {
  const { device, module, stream } = query;
  if (module !== undefined && device === undefined) {
    throw new CulvertError('argument_invalid', 'A filter by module needs a device too.');
  }
  if (stream !== undefined && !isStreamId(stream)) {
    throw new CulvertError('argument_invalid', 'The stream is not 32 hexadecimal digits.');
  }
  return {
    deviceId: device === undefined ? undefined : parseDeviceId(device),
    moduleId: module === undefined ? undefined : parseModuleId(module),
    streamId: stream,
    category: query.category,
    result: query.result === undefined ? undefined : parseResult(query.result),
    since: query.since === undefined ? undefined : parseTime('since', query.since),
    until: query.until === undefined ? undefined : parseTime('until', query.until),
  };
}

/** `ok`, `failed`, a six-digit Azure error code, or a Culvert error code. */
function parseResult(text: string): WantedResult {
  if (text === 'ok' || text === 'failed') return { kind: text };
  if (/^\d{6}$/.test(text)) return { kind: 'number', number: text };
  if (Object.hasOwn(ERRORS, text)) {
    const code = text as ErrorCode;
    return { kind: 'code', code, number: String(ERRORS[code].azure[0]) };
  }
  throw new CulvertError(
    'argument_invalid',
    'The result must be ok, failed, a code of six digits, or a code of the error table such as device_offline.',
  );
}

/** ISO 8601 with a zone, or milliseconds since the epoch. */
function parseTime(name: string, text: string): number {
  const time = /^\d{1,15}$/.test(text)
    ? Number(text)
    : /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d))?$/.test(text)
      ? Date.parse(text)
      : Number.NaN;
  if (Number.isNaN(time)) {
    throw new CulvertError('argument_invalid', `'${name}' is not a time such as 2026-01-31T12:00:00Z.`);
  }
  return time;
}

function wantsEvents(request: FastifyRequest): boolean {
  return request.headers.accept?.split(',', 1)[0]?.trim().toLowerCase().startsWith('text/event-stream') === true;
}

function lastEventId(request: FastifyRequest): { time: number; sequence: number } | undefined {
  const text = request.headers['last-event-id'];
  if (text === undefined || text === '') return undefined;
  const position = parseRecordId(String(text));
  if (position === undefined)
    throw new CulvertError('argument_invalid', 'The Last-Event-ID was not issued by this hub.');
  return position;
}

const cursor = z.strictObject({
  part: z.string().regex(/^\d{4}-\d{2}-\d{2}\.\d{3}\.db$/),
  time: z.number().int(),
  row: z.number().int(),
});

function continuation(request: FastifyRequest): LogCursor | undefined {
  const text = request.headers[CONTINUATION_HEADER];
  if (text === undefined || text === '') return undefined;
  try {
    return cursor.parse(JSON.parse(Buffer.from(String(text), 'base64url').toString('utf8')));
  } catch {
    throw new CulvertError('argument_invalid', `The header ${CONTINUATION_HEADER} was not issued by this hub.`);
  }
}
