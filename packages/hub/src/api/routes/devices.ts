import { CONTINUATION_HEADER, CulvertError, parseDeviceId } from '@culvert/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { IdentityRecord } from '../../registry/registry.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { changedDevice, deviceDocument, deviceInput, newDevice } from '../documents/device.ts';
import { assertSameId, existing, expectation, IdentityWrites, isUpdate } from './identity-writes.ts';

/** Maximum devices in one page. */
const MAX_PAGE = 1000;

const params = z.object({ deviceId: z.string() });
const page = z.looseObject({ top: z.coerce.number().int().min(1).default(MAX_PAGE) });

/** The identity registry by REST: `/devices`, in Azure's format (docs/protocol/06-identity-rest.md). */
export function deviceRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const { registry, router } = deps;
  const writes = new IdentityWrites(deps);
  const readOptions = authorization.to('registry.read');
  const writeOptions = authorization.to('registry.write');
  const document = (record: IdentityRecord) => deviceDocument(record, router.channel({ deviceId: record.deviceId }));
  const answer = (reply: FastifyReply, record: IdentityRecord) =>
    reply.header('etag', `"${record.etag}"`).send(document(record));

  api.get('/devices/:deviceId', { ...readOptions, schema: { params, tags: ['devices'] } }, async (request, reply) => {
    return answer(reply, await existing(registry, { deviceId: parseDeviceId(request.params.deviceId) }));
  });

  api.put(
    '/devices/:deviceId',
    { ...writeOptions, schema: { params, body: deviceInput, tags: ['devices'] } },
    async (request, reply) => {
      const principal = authorization.principal(request);
      const deviceId = parseDeviceId(request.params.deviceId);
      assertSameId('deviceId', request.body.deviceId, deviceId);
      const { body } = request;
      const record = isUpdate(request)
        ? await writes.update(principal, { deviceId }, expectation(request), (old, now) =>
            changedDevice(old, body, now),
          )
        : await writes.create(principal, (creation) => newDevice(deviceId, body, creation));
      return answer(reply, record);
    },
  );

  api.delete(
    '/devices/:deviceId',
    { ...writeOptions, schema: { params, tags: ['devices'] } },
    async (request, reply) => {
      const principal = authorization.principal(request);
      await writes.delete(principal, { deviceId: parseDeviceId(request.params.deviceId) }, expectation(request));
      return reply.code(204).send();
    },
  );

  api.get('/devices', { ...readOptions, schema: { querystring: page, tags: ['devices'] } }, async (request, reply) => {
    const limit = Math.min(request.query.top, MAX_PAGE);
    const after = continuation(request);
    // Read one more than the page holds, to know whether there is a next page.
    const found = await registry.list({ limit: limit + 1, ...(after === undefined ? {} : { after }) });
    const records = found.slice(0, limit);
    const last = records.at(-1);
    if (found.length > limit && last !== undefined) {
      reply.header(CONTINUATION_HEADER, Buffer.from(last.deviceId).toString('base64url'));
    }
    return reply.send(records.map(document));
  });
}

function continuation(request: FastifyRequest): string | undefined {
  const text = request.headers[CONTINUATION_HEADER];
  if (text === undefined || text === '') return undefined;
  try {
    return parseDeviceId(Buffer.from(String(text), 'base64url').toString('utf8'));
  } catch {
    throw new CulvertError('argument_invalid', `The header ${CONTINUATION_HEADER} was not issued by this hub.`);
  }
}
