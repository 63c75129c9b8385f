import { CulvertError, type PolicyView } from '@culvert/protocol';
import { z } from 'zod';
import type { PolicyRecord } from '../../registry/registry.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

const params = z.object({ name: z.string().max(64) });

/** The shared access policies by REST: `/policies`. A Culvert extension, so errors are RFC 9457 problem documents. */
export function policyRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const options = { config: { errors: 'problem' as const }, ...authorization.to('policy.manage') };
  const view = (policy: PolicyRecord): PolicyView => ({
    name: policy.name,
    permissions: policy.permissions,
    primaryKey: policy.primaryKey,
    secondaryKey: policy.secondaryKey,
    connectionString: deps.policyConnectionString(policy),
  });

  api.get('/policies', { ...options, schema: { tags: ['policies'] } }, async () => {
    return { policies: (await deps.policies.list()).map(view) };
  });

  api.get('/policies/:name', { ...options, schema: { params, tags: ['policies'] } }, async (request) => {
    const policy = await deps.policies.get(request.params.name);
    if (policy === undefined) throw new CulvertError('policy_not_found');
    return view(policy);
  });

  api.post('/policies/:name/rotate', { ...options, schema: { params, tags: ['policies'] } }, async (request) => {
    const policy = await deps.policies.rotate(request.params.name);
    deps.onEvent({ type: 'policy-rotated', policy: policy.name, principal: authorization.principal(request).name });
    return view(policy);
  });
}
