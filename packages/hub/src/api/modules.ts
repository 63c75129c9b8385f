import { randomUUID } from 'node:crypto';
import { parseDeviceId, parseModuleId } from '@culvert/protocol';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { authorize } from '../auth/authorize.ts';
import type { IdentityRecord } from '../registry/registry.ts';
import type { Api, ApiDeps, Authenticate } from './api-deps.ts';
import { assertSameId, existing, expectation, isUpdate, update } from './identity-writes.ts';
import { changedModule, moduleDocument, moduleInput, newModule } from './module-documents.ts';

const device = z.object({ deviceId: z.string() });
const params = z.object({ deviceId: z.string(), moduleId: z.string() });
type Params = z.infer<typeof params>;

/**
 * The modules of a device by REST, in the preview's shape. A token made with the device's own key may do all of this for its own modules
 * (docs/protocol/06-identity-rest.md).
 */
export function moduleRoutes(api: Api, deps: ApiDeps, authenticate: Authenticate): void {
  const { registry, router, clock } = deps;
  const document = (record: IdentityRecord, moduleId: string) =>
    moduleDocument(record, moduleId, router.channel({ deviceId: record.deviceId, moduleId }));
  const answer = (reply: FastifyReply, record: IdentityRecord, moduleId: string) =>
    reply.header('etag', `"${record.etag}"`).send(document(record, moduleId));
  const identityOf = ({ deviceId, moduleId }: Params) => ({
    deviceId: parseDeviceId(deviceId),
    moduleId: parseModuleId(moduleId),
  });

  api.get('/devices/:deviceId/modules', { schema: { params: device, tags: ['modules'] } }, async (request) => {
    authorize(await authenticate(request, request.params), 'module.read', request.params);
    const records = await registry.modules(parseDeviceId(request.params.deviceId));
    return records.map((record) => document(record, record.moduleId ?? ''));
  });

  const path = '/devices/:deviceId/modules/:moduleId';
  api.get(path, { schema: { params, tags: ['modules'] } }, async (request, reply) => {
    const { deviceId } = request.params;
    authorize(await authenticate(request, { deviceId }), 'module.read', request.params);
    const identity = identityOf(request.params);
    return answer(reply, await existing(registry, identity), identity.moduleId);
  });

  api.put(path, { schema: { params, body: moduleInput, tags: ['modules'] } }, async (request, reply) => {
    const { deviceId } = request.params;
    const principal = await authenticate(request, { deviceId });
    authorize(principal, 'module.write', request.params);
    const identity = identityOf(request.params);
    assertSameId('deviceId', request.body.deviceId, identity.deviceId);
    assertSameId('moduleId', request.body.moduleId, identity.moduleId);
    const now = clock.now();
    const updates = isUpdate(request);
    const record = updates
      ? await update(registry, identity, expectation(request), (old) => changedModule(old, request.body, now))
      : await registry.put(newModule(identity, request.body, { now, generationId: randomUUID() }), { kind: 'absent' });
    const change = updates ? 'updated' : 'created';
    deps.onEvent({ type: 'registry-changed', change, ...identity, principal: principal.name });
    return answer(reply, record, identity.moduleId);
  });

  api.delete(path, { schema: { params, tags: ['modules'] } }, async (request, reply) => {
    const { deviceId } = request.params;
    const principal = await authenticate(request, { deviceId });
    authorize(principal, 'module.write', request.params);
    const identity = identityOf(request.params);
    await registry.delete(identity, expectation(request));
    deps.onEvent({ type: 'registry-changed', change: 'deleted', ...identity, principal: principal.name });
    return reply.code(204).send();
  });
}
