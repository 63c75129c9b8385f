import { randomBytes, randomUUID } from 'node:crypto';
import { CONTINUATION_HEADER, CulvertError, parseDeviceId } from '@culvert/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { authorize } from '../auth/authorize.ts';
import type { DeviceRecord, Expectation } from '../registry/registry.ts';
import type { Api, ApiDeps, Authenticate } from './api-deps.ts';
import { changedRecord, type DeviceInput, deviceDocument, deviceInput, newRecord } from './device-documents.ts';

/** The most devices in one page. */
const MAX_PAGE = 1000;

/** How often an unconditional update is tried while others write the same device. */
const MAX_UPDATE_ATTEMPTS = 4;

const params = z.object({ deviceId: z.string() });
const page = z.looseObject({ top: z.coerce.number().int().min(1).default(MAX_PAGE) });

/** The identity registry by REST: `/devices`, in the preview's shape. */
export function deviceRoutes(api: Api, deps: ApiDeps, authenticate: Authenticate): void {
  const document = (record: DeviceRecord) => deviceDocument(record, deps.router.channel(record.deviceId));
  const answer = (reply: FastifyReply, record: DeviceRecord) =>
    reply.header('etag', `"${record.etag}"`).send(document(record));

  api.get('/devices/:deviceId', { schema: { params, tags: ['devices'] } }, async (request, reply) => {
    authorize(await authenticate(request, request.params.deviceId), 'registry.read');
    return answer(reply, await existing(deps, parseDeviceId(request.params.deviceId)));
  });

  api.put(
    '/devices/:deviceId',
    { schema: { params, body: deviceInput, tags: ['devices'] } },
    async (request, reply) => {
      const principal = await authenticate(request, request.params.deviceId);
      authorize(principal, 'registry.write');
      const deviceId = parseDeviceId(request.params.deviceId);
      if (request.body.deviceId !== undefined && request.body.deviceId !== deviceId) {
        throw new CulvertError('argument_invalid', 'The deviceId of the body is not that of the path.');
      }
      const update = request.headers['if-match'] !== undefined;
      const record = update
        ? await changed(deps, deviceId, request.body, expectation(request))
        : await created(deps, deviceId, request.body);
      deps.onEvent({
        type: 'registry-changed',
        change: update ? 'updated' : 'created',
        deviceId,
        principal: principal.name,
      });
      return answer(reply, record);
    },
  );

  api.delete('/devices/:deviceId', { schema: { params, tags: ['devices'] } }, async (request, reply) => {
    const principal = await authenticate(request, request.params.deviceId);
    authorize(principal, 'registry.write');
    const deviceId = parseDeviceId(request.params.deviceId);
    await deps.registry.delete(deviceId, expectation(request));
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

async function existing(deps: ApiDeps, deviceId: string): Promise<DeviceRecord> {
  const record = await deps.registry.get(deviceId);
  if (record === undefined) throw new CulvertError('device_not_found');
  return record;
}

function created(deps: ApiDeps, deviceId: string, input: DeviceInput): Promise<DeviceRecord> {
  const make = { now: deps.clock.now(), generationId: randomUUID(), newKey: () => randomBytes(32).toString('base64') };
  return deps.registry.put(newRecord(deviceId, input, make), { kind: 'absent' });
}

async function changed(
  deps: ApiDeps,
  deviceId: string,
  input: DeviceInput,
  expected: Expectation,
): Promise<DeviceRecord> {
  // Read and written in two steps: the version that was read is expected, so a change in between is never undone unseen.
  for (let attempt = 1; ; attempt++) {
    const record = await existing(deps, deviceId);
    if (expected.kind === 'etag' && expected.etag !== record.etag) throw new CulvertError('precondition_failed');
    try {
      const next = changedRecord(record, input, deps.clock.now());
      return await deps.registry.put(next, { kind: 'etag', etag: record.etag });
    } catch (error) {
      const raced = error instanceof CulvertError && error.code === 'precondition_failed';
      if (!raced || expected.kind === 'etag' || attempt === MAX_UPDATE_ATTEMPTS) throw error;
    }
  }
}

/** `If-Match`: `*` or nothing means any version; a quoted (or, from C#, bare) ETag means that one. */
function expectation(request: FastifyRequest): Expectation {
  const text = request.headers['if-match']?.trim();
  if (text === undefined || text === '*' || text === '"*"' || text === '') return { kind: 'present' };
  return { kind: 'etag', etag: text.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') };
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
