import { AUDIT_TYPES, parseDeviceId } from '@culvert/protocol';
import { z } from 'zod';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

/** Records on a page at most: about a megabyte. */
const MAX_PAGE = 1_000;

const time = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));

const querystring = z.object({
  since: time.optional(),
  until: time.optional(),
  device: z.string().optional(),
  type: z.enum(AUDIT_TYPES).optional(),
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(100),
});

/** The audit log by REST: `GET /audit`, oldest first, in pages. A Culvert extension, so errors are RFC 9457 problem documents. */
export function auditRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const options = { config: { errors: 'problem' as const }, ...authorization.to('monitor.read') };
  api.get('/audit', { ...options, schema: { querystring, tags: ['audit'] } }, async (request) => {
    const { device, ...query } = request.query;
    const deviceId = device === undefined ? undefined : parseDeviceId(device);
    const { records, next } = await deps.audit.read({ ...query, deviceId });
    return { records, ...(next === undefined ? {} : { next }) };
  });
}
