import type { Admission } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

/** `GET /limits`: the configured limits on streams, their current use, and how often each was reached (docs/operating/limits.md). */
export function limitRoutes(api: Api, deps: ApiDeps, admission: Admission): void {
  const options = { config: { errors: 'problem' as const }, ...admission.to('monitor.read') };
  api.get('/limits', { ...options, schema: { tags: ['live view'] } }, () =>
    Promise.resolve({ limits: deps.limitViews() }),
  );
}
