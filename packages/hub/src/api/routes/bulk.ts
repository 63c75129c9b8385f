import { CulvertError, type Identity, identityName, parseDeviceId, parseModuleId } from '@culvert/protocol';
import { z } from 'zod';
import type { Principal } from '../../auth/principal.ts';
import { faultOf } from '../../observe/events.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { changedDevice, deviceInput, newDevice } from '../documents/device.ts';
import { changedModule, moduleInput, newModule } from '../documents/module.ts';
import { expectedVersion, IdentityWrites } from './identity-writes.ts';

/** Maximum devices and modules in one call: Azure's limit. */
const MAX_OPERATIONS = 100;

/** Maximum bytes of a call: a device as Azure's clients send it back, with tags and twin, is below 4 KiB. */
const MAX_BODY_BYTES = MAX_OPERATIONS * 4_096;

/** The operation. Clients write it with or without a capital letter. */
const MODES = [
  'create',
  'update',
  'updateifmatchetag',
  'delete',
  'deleteifmatchetag',
  'updatetwin',
  'updatetwinifmatchetag',
] as const;

const operation = z.looseObject({
  ...deviceInput.shape,
  ...moduleInput.shape,
  id: z.string(),
  importMode: z.string().max(32).toLowerCase().pipe(z.enum(MODES)),
  eTag: z.string().nullish(),
});
type Operation = z.infer<typeof operation>;

/** How the operation on one device or module failed. */
interface OperationError {
  readonly deviceId: string;
  readonly moduleId?: string;
  /** Azure's name of the error code. */
  readonly errorCode: string;
  readonly errorStatus: string;
}

/**
 * Changes many identities in one call: `POST /devices` (docs/protocol/06-identity-rest.md). Each is changed independently, and the response lists
 * those that failed. A malformed call changes nothing.
 */
export function bulkRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const writes = new IdentityWrites(deps);
  const options = {
    ...authorization.to('registry.write'),
    bodyLimit: MAX_BODY_BYTES,
    schema: { body: z.array(operation), tags: ['devices'] },
  };
  api.post('/devices', options, async (request, reply) => {
    const principal = authorization.principal(request);
    const targets = targetsOf(request.body);
    const outcomes = await Promise.allSettled(targets.map((target) => perform(writes, principal, target)));
    const errors = outcomes.flatMap((outcome, index) => {
      const target = targets[index];
      if (outcome.status === 'fulfilled' || target === undefined) return [];
      const error = CulvertError.from(outcome.reason);
      const fault = faultOf(error, 'POST /devices');
      if (fault !== undefined) deps.onEvent(fault);
      return [operationError(target.identity, error)];
    });
    const isSuccessful = errors.length === 0;
    // Azure's clients recognise a partial failure by this name.
    if (!isSuccessful) reply.code(400).header('iothub-errorcode', 'BulkRegistryOperationFailure');
    return reply.send({ isSuccessful, errors, warnings: [] });
  });
}

interface Target {
  readonly identity: Identity;
  readonly wanted: Operation;
}

function targetsOf(operations: readonly Operation[]): readonly Target[] {
  if (operations.length === 0) throw new CulvertError('argument_invalid', 'The call names no device.');
  if (operations.length > MAX_OPERATIONS)
    throw new CulvertError('too_large', `A call may name ${MAX_OPERATIONS} devices at most.`);
  const seen = new Set<string>();
  return operations.map((wanted) => {
    const moduleId = wanted.moduleId ?? undefined;
    const identity: Identity = {
      deviceId: parseDeviceId(wanted.id),
      ...(moduleId === undefined ? {} : { moduleId: parseModuleId(moduleId) }),
    };
    const name = identityName(identity);
    // The result would depend on an unspecified order.
    if (seen.has(name)) throw new CulvertError('argument_invalid', `The call names '${name}' twice.`);
    seen.add(name);
    return { identity, wanted };
  });
}

async function perform(writes: IdentityWrites, principal: Principal, { identity, wanted }: Target): Promise<void> {
  const { deviceId, moduleId } = identity;
  const expected = () => {
    const etag = wanted.eTag ?? wanted.etag ?? '';
    if (etag === '') throw new CulvertError('argument_invalid', 'The operation needs an eTag.');
    return expectedVersion(etag);
  };
  const update = (version: ReturnType<typeof expectedVersion>) =>
    writes.update(principal, identity, version, (old, now) =>
      moduleId === undefined ? changedDevice(old, wanted, now) : changedModule(old, wanted, now),
    );
  switch (wanted.importMode) {
    case 'create':
      await writes.create(principal, (creation) =>
        moduleId === undefined
          ? newDevice(deviceId, wanted, creation)
          : newModule({ deviceId, moduleId }, wanted, creation),
      );
      return;
    case 'update':
      await update({ kind: 'present' });
      return;
    case 'updateifmatchetag':
      await update(expected());
      return;
    case 'delete':
      return writes.delete(principal, identity, { kind: 'present' });
    case 'deleteifmatchetag':
      return writes.delete(principal, identity, expected());
    default:
      throw new CulvertError('not_supported');
  }
}

function operationError({ deviceId, moduleId }: Identity, error: CulvertError): OperationError {
  const [, errorCode] = error.row.azure;
  const module = moduleId === undefined ? {} : { moduleId };
  return { deviceId, ...module, errorCode, errorStatus: error.message };
}
