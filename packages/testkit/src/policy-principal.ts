import type { Principal } from '@culvert/hub';

/** The principal of a service that authenticated with a policy's key, for tests without an authenticator. */
export function policyPrincipal(policy: string, over: Partial<Principal> = {}): Principal {
  return {
    name: `policy:${policy}`,
    permissions: new Set(['ServiceConnect']),
    identity: undefined,
    proof: { kind: 'key', owner: { kind: 'policy', policy }, keyDigest: '' },
    expiresAt: Number.POSITIVE_INFINITY,
    ...over,
  };
}
