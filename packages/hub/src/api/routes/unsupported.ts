import { CulvertError } from '@culvert/protocol';
import type { Api } from '../deps.ts';

/**
 * Azure's routes for features that this hub does not have: twins, methods, messages, jobs, queries, files, configurations. Requests to
 * them get the response 501 with that reason, not 404.
 */
const ROUTES: readonly (readonly [url: string, ...methods: ('GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE')[]])[] = [
  ['/twins/:deviceId', 'GET', 'PUT', 'PATCH'],
  ['/twins/:deviceId/methods', 'POST'],
  ['/twins/:deviceId/modules/:moduleId', 'GET', 'PUT', 'PATCH'],
  ['/twins/:deviceId/modules/:moduleId/methods', 'POST'],
  // POST only: a device may have the id `query`.
  ['/devices/query', 'POST'],
  ['/devices/:deviceId/query', 'POST'],
  ['/devices/:deviceId/messages/*', 'GET', 'POST', 'DELETE'],
  ['/devices/:deviceId/files', 'POST'],
  ['/devices/:deviceId/files/*', 'POST'],
  ['/devices/:deviceId/modules/:moduleId/messages/*', 'GET', 'POST', 'DELETE'],
  ['/devices/:deviceId/applyConfigurationContent', 'POST'],
  ['/digitaltwins/*', 'GET', 'PATCH', 'POST'],
  ['/jobs', 'GET'],
  ['/jobs/*', 'GET', 'PUT', 'POST', 'DELETE'],
  ['/configurations', 'GET', 'POST'],
  ['/configurations/*', 'GET', 'PUT', 'POST', 'DELETE'],
  ['/messages/*', 'GET', 'POST', 'DELETE'],
];

/** Adds these routes. Each refuses every request without reading the credential or the body, which need not be JSON. */
export function unsupportedRoutes(api: Api): void {
  const refuse = () => Promise.reject(new CulvertError('not_supported'));
  for (const [url, ...method] of ROUTES) {
    api.route({ method, url, schema: { hide: true }, onRequest: refuse, handler: refuse });
  }
}
