import type { Principal } from '@culvert/hub';
import { type Identity, identityName } from '@culvert/protocol';

/** The principal of a device or module that authenticated with a key, for tests of listeners without an authenticator. */
export function devicePrincipal(identity: Identity, over: Partial<Principal> = {}): Principal {
  const { deviceId, moduleId } = identity;
  return {
    name: `${moduleId === undefined ? 'device' : 'module'}:${identityName(identity)}`,
    permissions: new Set(['DeviceConnect']),
    identity,
    proof: { kind: 'key', owner: { kind: 'identity', deviceId, moduleId, generationId: '1' }, keyDigest: '' },
    expiresAt: Number.POSITIVE_INFINITY,
    ...over,
  };
}
