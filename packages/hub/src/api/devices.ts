import { randomUUID } from 'node:crypto';
import { CONTINUATION_HEADER, CulvertError, parseDeviceId } from '@culvert/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { authorize } from '../auth/authorize.ts';
import type { IdentityRecord } from '../registry/registry.ts';
import type { Api, ApiDeps, Authenticate } from './api-deps.ts';
import { changedDevice, deviceDocument, deviceInput, newDevice } from './device-documents.ts';
import { assertSameId, existing, expectation, isUpdate, update } from './identity-writes.ts';

/** The most devices in one page. */
const MAX_PAGE = 1000;

const params = z.object({ deviceId: z.string() });
const page = z.looseObject({ top: z.coerce.number().int().min(1).default(MAX_PAGE) });

/** The identity registry by REST: `/devices`, in the preview's shape (docs/protocol/06-identity-rest.md). */
export function deviceRoutes(api: Api, deps: ApiDeps, authenticate: Authenticate): void {
  const { registry, router, clock } = deps;
  const document = (record: IdentityRecord) => deviceDocument(record, router.channel({ deviceId: record.deviceId }));
  const answer = (reply: FastifyReply, record: IdentityRecord) =>
    reply.header('etag', `"${record.etag}"`).send(document(record));

  api.get('/devices/:deviceId', { schema: { params, tags: ['devices'] } }, async (request, reply) => {
    authorize(await authenticate(request, request.params), 'registry.read');
    return answer(reply, await existing(registry, { deviceId: parseDeviceId(request.params.deviceId) }));
  });

  api.put(
    '/devices/:deviceId',
    { schema: { params, body: deviceInput, tags: ['devices'] } },
    async (request, reply) => {
      const principal = await authenticate(request, request.params);
      authorize(principal, 'registry.write');
      const deviceId = parseDeviceId(request.params.deviceId);
      assertSameId('deviceId', request.body.deviceId, deviceId);
      const now = clock.now();
      const updates = isUpdate(request);
      const record = updates
        ? await update(registry, { deviceId }, expectation(request), (old) => changedDevice(old, request.body, now))
        : await registry.put(newDevice(deviceId, request.body, { now, generationId: randomUUID() }), {
            kind: 'absent',
          });
      deps.onEvent({
        type: 'registry-changed',
        change: updates ? 'updated' : 'created',
        deviceId,
        principal: principal.name,
      });
      return answer(reply, record);
    },
  );

  api.delete('/devices/:deviceId', { schema: { params, tags: ['devices'] } }, async (request, reply) => {
    const principal = await authenticate(request, request.params);
    authorize(principal, 'registry.write');
    const deviceId = parseDeviceId(request.params.deviceId);
    await registry.delete({ deviceId }, expectation(request));
    deps.onEvent({ type: 'registry-changed', change: 'deleted', deviceId, principal: principal.name });
    return reply.code(204).send();
  });

  api.get('/devices', { schema: { querystring: page, tags: ['devices'] } }, async (request, reply) => {
    authorize(await authenticate(request), 'registry.read');
    const limit = Math.min(request.query.top, MAX_PAGE);
    const after = continuation(request);
    // One more than is answered tells whether there is a next page.
    const found = await deps.registry.list({ limit: limit + 1, ...(after === undefined ? {} : { after }) });
    const records = found.slice(0, limit);
    const last = records.at(-1);
    if (found.length > limit && last !== undefined) {
      reply.header(CONTINUATION_HEADER, Buffer.from(last.deviceId).toString('base64url'));
    }
    return reply.send(records.map(document));
  });

  api.get('/statistics/devices', { schema: { tags: ['devices'] } }, async (request) => {
    authorize(await authenticate(request), 'registry.read');
    const { total, disabled } = await deps.registry.count();
    return { totalDeviceCount: total, enabledDeviceCount: total - disabled, disabledDeviceCount: disabled };
  });
}

function continuation(request: FastifyRequest): string | undefined {
  const text = request.headers[CONTINUATION_HEADER];
  if (text === undefined || text === '') return undefined;
  try {
    return parseDeviceId(Buffer.from(String(text), 'base64url').toString('utf8'));
  } catch {
    throw new CulvertError('argument_invalid', `The header ${CONTINUATION_HEADER} is not one this hub gave out.`);
  }
}
