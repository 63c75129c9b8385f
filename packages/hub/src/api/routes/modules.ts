import { parseDeviceId, parseModuleId } from '@culvert/protocol';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { IdentityRecord } from '../../registry/registry.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { changedModule, moduleDocument, moduleInput, newModule } from '../documents/module.ts';
import { assertSameId, existing, expectation, IdentityWrites, isUpdate } from './identity-writes.ts';

const device = z.object({ deviceId: z.string() });
const params = z.object({ deviceId: z.string(), moduleId: z.string() });
type Params = z.infer<typeof params>;

/**
 * The modules of a device by REST, in Azure's format. A token signed with the device's own key permits all of these requests for that device
 * (docs/protocol/06-identity-rest.md).
 */
export function moduleRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const { registry, router } = deps;
  const writes = new IdentityWrites(deps);
  const readOptions = authorization.to('module.read');
  const writeOptions = authorization.to('module.write');
  const document = (record: IdentityRecord, moduleId: string) =>
    moduleDocument(record, moduleId, router.channel({ deviceId: record.deviceId, moduleId }));
  const answer = (reply: FastifyReply, record: IdentityRecord, moduleId: string) =>
    reply.header('etag', `"${record.etag}"`).send(document(record, moduleId));
  const identityOf = ({ deviceId, moduleId }: Params) => ({
    deviceId: parseDeviceId(deviceId),
    moduleId: parseModuleId(moduleId),
  });

  api.get(
    '/devices/:deviceId/modules',
    { ...readOptions, schema: { params: device, tags: ['modules'] } },
    async (request) => {
      const records = await registry.modules(parseDeviceId(request.params.deviceId));
      return records.map((record) => document(record, record.moduleId ?? ''));
    },
  );

  const path = '/devices/:deviceId/modules/:moduleId';
  api.get(path, { ...readOptions, schema: { params, tags: ['modules'] } }, async (request, reply) => {
    const identity = identityOf(request.params);
    return answer(reply, await existing(registry, identity), identity.moduleId);
  });

  api.put(
    path,
    { ...writeOptions, schema: { params, body: moduleInput, tags: ['modules'] } },
    async (request, reply) => {
      const principal = authorization.principal(request);
      const identity = identityOf(request.params);
      assertSameId('deviceId', request.body.deviceId, identity.deviceId);
      assertSameId('moduleId', request.body.moduleId, identity.moduleId);
      const { body } = request;
      const record = isUpdate(request)
        ? await writes.update(principal, identity, expectation(request), (old, now) => changedModule(old, body, now))
        : await writes.create(principal, (creation) => newModule(identity, body, creation));
      return answer(reply, record, identity.moduleId);
    },
  );

  api.delete(path, { ...writeOptions, schema: { params, tags: ['modules'] } }, async (request, reply) => {
    const principal = authorization.principal(request);
    await writes.delete(principal, identityOf(request.params), expectation(request));
    return reply.code(204).send();
  });
}
