import { randomUUID } from 'node:crypto';
import { CulvertError, type Identity } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal.ts';
import type { Expectation, IdentityRecord, Registry } from '../registry/registry.ts';
import type { ApiDeps } from './api-deps.ts';

/** Maximum attempts of an unconditional update while others write the same identity. */
const MAX_UPDATE_ATTEMPTS = 4;

/** A record before it is stored. */
export type NewRecord = Omit<IdentityRecord, 'etag'>;

/** Creation time and generation id of a new record. */
export interface Birth {
  readonly now: number;
  readonly generationId: string;
}

/** All identity changes by REST go through here: each change emits an event with the principal who made it. */
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
   * Reads, then writes expecting the version it read, so that a concurrent change is never overwritten.
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

/** Whether a PUT is an update: Azure's clients then send `If-Match`. */
export function isUpdate(request: FastifyRequest): boolean {
  return request.headers['if-match'] !== undefined;
}

/** The expectation from `If-Match`. */
export function expectation(request: FastifyRequest): Expectation {
  return expectedVersion(request.headers['if-match'] ?? '*');
}

/** `*` or nothing means any version; a quoted, weak or (from C#) bare ETag means that one. */
export function expectedVersion(etag: string): Expectation {
  const text = etag.trim();
  // Azure's Node client quotes every value.
  if (text === '*' || text === '"*"' || text === '') return { kind: 'present' };
  return { kind: 'etag', etag: text.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') };
}

/** Compares an id in the body with the path. @throws CulvertError `argument_invalid` */
export function assertSameId(name: 'deviceId' | 'moduleId', inBody: string | null | undefined, inPath: string): void {
  if (inBody === undefined || inBody === null || inBody === inPath) return;
  throw new CulvertError('argument_invalid', `The ${name} of the body is not that of the path.`);
}
