import type { Principal } from '@culvert/hub';

/** A principal as an authenticator would make it for a policy that services use. */
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
