import type { Admission } from './admission.ts';
import type { Api, ApiDeps } from './api-deps.ts';

/** `GET /limits`: what an administrator set for streams, how much of it is used, how often it was reached (docs/operating/limits.md). */
export function limitRoutes(api: Api, deps: ApiDeps, admission: Admission): void {
  const options = { config: { errors: 'problem' as const }, ...admission.to('monitor.read') };
  api.get('/limits', { ...options, schema: { tags: ['live view'] } }, () =>
    Promise.resolve({ limits: deps.limitViews() }),
  );
}
