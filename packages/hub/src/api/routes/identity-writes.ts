import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { CulvertError, type Identity } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import type { Principal } from '../../auth/principal.ts';
import { TokenBuckets } from '../../handshake/token-bucket.ts';
import type { Expectation, IdentityRecord, Registry } from '../../registry/registry.ts';
import type { ApiDeps } from '../deps.ts';

/** Maximum attempts of an unconditional update while others write the same identity. */
const MAX_UPDATE_ATTEMPTS = 4;

/**
 * Limit on the changes that a device may make to its own modules with its own key. The burst is enough to create and change all of its fifty
 * modules; after it, one change a minute is allowed. Each change writes an audit record of about 400 bytes and a log line, so one stolen key writes
 * less than 1.5 MB a day.
 */
const OWN_WRITES = { perSecond: 1 / 60, burst: 100 };

/** A record before it is stored. */
export type NewRecord = Omit<IdentityRecord, 'etag'>;

/** Creation time and generation id of a new record. */
export interface Creation {
  readonly now: number;
  readonly generationId: string;
}

/** Makes all changes to identities by REST. Each change emits an event with the principal that made it. */
export class IdentityWrites {
  readonly #deps: Pick<ApiDeps, 'registry' | 'clock' | 'onEvent'>;
  /** By device id, so there are no more buckets than devices. */
  readonly #ownWrites = new TokenBuckets(OWN_WRITES.perSecond, OWN_WRITES.burst);

  constructor(deps: Pick<ApiDeps, 'registry' | 'clock' | 'onEvent'>) {
    this.#deps = deps;
  }

  /**
   * @throws CulvertError what `make` and the registry throw: `device_exists`, `module_exists`, `device_not_found`, `limit_reached`;
   * `too_many_requests` to a device that changes its own modules too often
   */
  async create(principal: Principal, make: (creation: Creation) => NewRecord): Promise<IdentityRecord> {
    const { registry, clock } = this.#deps;
    const record = make({ now: clock.now(), generationId: randomUUID() });
    this.#assertRate(principal);
    const stored = await registry.put(record, { kind: 'absent' });
    this.#report('created', stored, principal);
    return stored;
  }

  /**
   * Reads the record, then writes it only if its version is still the one that was read, so that a concurrent change is never overwritten. An
   * update that changes nothing is neither written nor reported, and the record keeps its etag.
   * @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`, `too_many_requests`; what `change` throws
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
      const changed = change(record, clock.now());
      if (isUnchanged(record, changed)) return record;
      // An update counts once, however many attempts it takes.
      if (attempt === 1) this.#assertRate(principal);
      try {
        const stored = await registry.put(changed, { kind: 'etag', etag: record.etag });
        this.#report('updated', stored, principal);
        return stored;
      } catch (error) {
        const raced = error instanceof CulvertError && error.code === 'precondition_failed';
        if (!raced || expected.kind === 'etag' || attempt === MAX_UPDATE_ATTEMPTS) throw error;
      }
    }
  }

  /** @throws CulvertError `device_not_found`, `module_not_found`, `precondition_failed`, `too_many_requests` */
  async delete(principal: Principal, identity: Identity, expected: Expectation): Promise<void> {
    this.#assertRate(principal);
    await this.#deps.registry.delete(identity, expected);
    this.#report('deleted', identity, principal);
  }

  #assertRate({ identity }: Principal): void {
    if (identity === undefined || this.#ownWrites.take(identity.deviceId, this.#deps.clock.now())) return;
    const text = `A device may change its own modules ${OWN_WRITES.burst} times at once, then once a minute; try again in a minute.`;
    throw new CulvertError('too_many_requests', text);
  }

  #report(change: 'created' | 'updated' | 'deleted', { deviceId, moduleId }: Identity, principal: Principal): void {
    const module = moduleId === undefined ? {} : { moduleId };
    this.#deps.onEvent({ type: 'registry-changed', change, deviceId, ...module, principal: principal.name });
  }
}

/** Whether a record differs from the stored one in `updatedAt` at most. */
function isUnchanged({ etag: _, ...record }: IdentityRecord, changed: NewRecord): boolean {
  return isDeepStrictEqual({ ...record, updatedAt: changed.updatedAt }, { ...changed });
}

/** @throws CulvertError `device_not_found`, `module_not_found` */
export async function existing(registry: Registry, identity: Identity): Promise<IdentityRecord> {
  const record = await registry.get(identity);
  if (record !== undefined) return record;
  const ofDevice = identity.moduleId === undefined ? undefined : await registry.get({ deviceId: identity.deviceId });
  throw new CulvertError(ofDevice === undefined ? 'device_not_found' : 'module_not_found');
}

/** Whether a PUT is an update: Azure's clients send `If-Match` with updates only. */
export function isUpdate(request: FastifyRequest): boolean {
  return request.headers['if-match'] !== undefined;
}

/** The expectation from `If-Match`. */
export function expectation(request: FastifyRequest): Expectation {
  return expectedVersion(request.headers['if-match'] ?? '*');
}

/** `*` or an empty text means any version; an ETag, which may be quoted, weak or (from C#) bare, means that version. */
export function expectedVersion(etag: string): Expectation {
  const text = etag.trim();
  // Azure's Node client quotes every value.
  if (text === '*' || text === '"*"' || text === '') return { kind: 'present' };
  return { kind: 'etag', etag: text.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') };
}

/** Compares an id in the body with the path. @throws CulvertError `argument_invalid` */
export function assertSameId(name: 'deviceId' | 'moduleId', inBody: string | null | undefined, inPath: string): void {
  if (inBody === undefined || inBody === null || inBody === inPath) return;
  throw new CulvertError('argument_invalid', `The ${name} in the body differs from the one in the path.`);
}
