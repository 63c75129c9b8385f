import { randomUUID } from 'node:crypto';
import { CulvertError, type Identity } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal.ts';
import type { Expectation, IdentityRecord, Registry } from '../registry/registry.ts';
import type { ApiDeps } from './api-deps.ts';

/** How often an unconditional update is tried while others write the same identity. */
const MAX_UPDATE_ATTEMPTS = 4;

/** A record before it is stored. */
export type NewRecord = Omit<IdentityRecord, 'etag'>;

/** When a record is made, and which life of its identity it begins. */
export interface Birth {
  readonly now: number;
  readonly generationId: string;
}

/** The one way by which REST changes identities: each change that was made is told, with who made it. */
export class IdentityWrites {
  readonly #deps: Pick<ApiDeps, 'registry' | 'clock' | 'onEvent'>;

  constructor(deps: Pick<ApiDeps, 'registry' | 'clock' | 'onEvent'>) {
    this.#deps = deps;
  }

  /** @throws CulvertError what `make` and the registry throw: `device_exists`, `module_exists`, `device_not_found`, `limit_reached` */
  async create(principal: Principal, make: (birth: Birth) => NewRecord): Promise<IdentityRecord> {
    const { registry, clock } = this.#deps;
    const record = make({ now: clock.now(), generationId: randomUUID() });
    const stored = await registry.put(record, { kind: 'absent' });
    this.#tell('created', stored, principal);
    return stored;
  }

  /**
   * Read and written in two steps: the version that was read is expected, so a change in between is never undone unseen.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`; what `change` throws
   */
  async update(
    principal: Principal,
    identity: Identity,
    expected: Expectation,
    change: (record: IdentityRecord, now: number) => NewRecord,
  ): Promise<IdentityRecord> {
    const { registry, clock } = this.#deps;
    for (let attempt = 1; ; attempt++) {
      const record = await existing(registry, identity);
      if (expected.kind === 'etag' && expected.etag !== record.etag) throw new CulvertError('precondition_failed');
      try {
        const stored = await registry.put(change(record, clock.now()), { kind: 'etag', etag: record.etag });
        this.#tell('updated', stored, principal);
        return stored;
      } catch (error) {
        const raced = error instanceof CulvertError && error.code === 'precondition_failed';
        if (!raced || expected.kind === 'etag' || attempt === MAX_UPDATE_ATTEMPTS) throw error;
      }
    }
  }

  /** @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed` */
  async delete(principal: Principal, identity: Identity, expected: Expectation): Promise<void> {
    await this.#deps.registry.delete(identity, expected);
    this.#tell('deleted', identity, principal);
  }

  #tell(change: 'created' | 'updated' | 'deleted', { deviceId, moduleId }: Identity, principal: Principal): void {
    const module = moduleId === undefined ? {} : { moduleId };
    this.#deps.onEvent({ type: 'registry-changed', change, deviceId, ...module, principal: principal.name });
  }
}

/** @throws CulvertError `device_not_found`, `module_not_found` */
export async function existing(registry: Registry, identity: Identity): Promise<IdentityRecord> {
  const record = await registry.get(identity);
  if (record !== undefined) return record;
  const ofDevice = identity.moduleId === undefined ? undefined : await registry.get({ deviceId: identity.deviceId });
  throw new CulvertError(ofDevice === undefined ? 'device_not_found' : 'module_not_found');
}

/** Whether a PUT means to change what there is: the preview's clients say so by `If-Match`. */
export function isUpdate(request: FastifyRequest): boolean {
  return request.headers['if-match'] !== undefined;
}

/** What `If-Match` says is expected. */
export function expectation(request: FastifyRequest): Expectation {
  return expectedVersion(request.headers['if-match'] ?? '*');
}

/** `*` or nothing means any version; a quoted, weak or (from C#) bare ETag means that one. */
export function expectedVersion(etag: string): Expectation {
  const text = etag.trim();
  // Node's client quotes whatever it sends.
  if (text === '*' || text === '"*"' || text === '') return { kind: 'present' };
  return { kind: 'etag', etag: text.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') };
}

/** Holds an id of the body against the path's. @throws CulvertError `argument_invalid` */
export function assertSameId(name: 'deviceId' | 'moduleId', inBody: string | null | undefined, inPath: string): void {
  if (inBody === undefined || inBody === null || inBody === inPath) return;
  throw new CulvertError('argument_invalid', `The ${name} of the body is not that of the path.`);
}
