import { CulvertError } from '@culvert/protocol';
import type { Api } from './api-deps.ts';

/**
 * Routes of the preview's service that belong to what this hub is not: twins, methods, messages, jobs, queries, files, configurations. Their
 * callers are told so, not that there is nothing at the address.
 */
const ROUTES: readonly (readonly [url: string, ...methods: ('GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE')[]])[] = [
  ['/twins/:deviceId', 'GET', 'PUT', 'PATCH'],
  ['/twins/:deviceId/methods', 'POST'],
  ['/twins/:deviceId/modules/:moduleId', 'GET', 'PUT', 'PATCH'],
  ['/twins/:deviceId/modules/:moduleId/methods', 'POST'],
  // By POST alone: a device may be called `query`.
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

/**
 * Answers them all, without looking at the credential, for the answer is the same for everybody, nor at the body, which need not be JSON.
 */
export function unsupportedRoutes(api: Api): void {
  const refuse = () => Promise.reject(new CulvertError('not_supported'));
  for (const [url, ...method] of ROUTES) {
    api.route({ method, url, schema: { hide: true }, onRequest: refuse, handler: refuse });
  }
}
