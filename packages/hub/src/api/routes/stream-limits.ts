import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

/** `GET /limits`: the configured limits on streams, their current use, and how often each was reached (docs/operating/limits.md). */
export function limitRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const options = { config: { errors: 'problem' as const }, ...authorization.to('monitor.read') };
  api.get('/limits', { ...options, schema: { tags: ['live view'] } }, () =>
    Promise.resolve({ limits: deps.limitViews() }),
  );
}
