import { CulvertError, type Identity } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import type { Expectation, IdentityRecord, Registry } from '../registry/registry.ts';

/** How often an unconditional update is tried while others write the same identity. */
const MAX_UPDATE_ATTEMPTS = 4;

/** @throws CulvertError `device_not_found`, `module_not_found` */
export async function existing(registry: Registry, identity: Identity): Promise<IdentityRecord> {
  const record = await registry.get(identity);
  if (record !== undefined) return record;
  const ofDevice = identity.moduleId === undefined ? undefined : await registry.get({ deviceId: identity.deviceId });
  throw new CulvertError(ofDevice === undefined ? 'device_not_found' : 'module_not_found');
}

/**
 * Changes a record. Read and written in two steps: the version that was read is expected, so a change in between is never undone unseen.
 * @throws CulvertError as `existing`; `precondition_failed`; what `change` throws
 */
export async function update(
  registry: Registry,
  identity: Identity,
  expected: Expectation,
  change: (record: IdentityRecord) => Omit<IdentityRecord, 'etag'>,
): Promise<IdentityRecord> {
  for (let attempt = 1; ; attempt++) {
    const record = await existing(registry, identity);
    if (expected.kind === 'etag' && expected.etag !== record.etag) throw new CulvertError('precondition_failed');
    try {
      return await registry.put(change(record), { kind: 'etag', etag: record.etag });
    } catch (error) {
      const raced = error instanceof CulvertError && error.code === 'precondition_failed';
      if (!raced || expected.kind === 'etag' || attempt === MAX_UPDATE_ATTEMPTS) throw error;
    }
  }
}

/** Whether a PUT means to change what there is: the preview's clients say so by `If-Match`. */
export function isUpdate(request: FastifyRequest): boolean {
  return request.headers['if-match'] !== undefined;
}

/** `If-Match`: `*` or nothing means any version; a quoted (or, from C#, bare) ETag means that one. */
export function expectation(request: FastifyRequest): Expectation {
  const text = request.headers['if-match']?.trim();
  if (text === undefined || text === '*' || text === '"*"' || text === '') return { kind: 'present' };
  return { kind: 'etag', etag: text.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') };
}

/** Holds an id of the body against the path's. @throws CulvertError `argument_invalid` */
export function assertSameId(name: 'deviceId' | 'moduleId', inBody: string | undefined, inPath: string): void {
  if (inBody === undefined || inBody === inPath) return;
  throw new CulvertError('argument_invalid', `The ${name} of the body is not that of the path.`);
}
