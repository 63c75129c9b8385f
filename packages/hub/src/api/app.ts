import type { IncomingMessage, ServerResponse } from 'node:http';
import { Server } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import { fastify } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { faultOf } from '../observe/events.ts';
import { Authorization } from './authorization.ts';
import type { Api, ApiDeps } from './deps.ts';
import { type ErrorFormat, fromFastify, replyWithError } from './errors.ts';
import { eventStreamConstraint } from './event-stream/accept-constraint.ts';
import { auditRoutes } from './routes/audit.ts';
import { authorityRoutes } from './routes/authorities.ts';
import { bulkRoutes } from './routes/bulk.ts';
import { deviceRoutes } from './routes/devices.ts';
import { logRoutes } from './routes/logs.ts';
import { moduleRoutes } from './routes/modules.ts';
import { policyRoutes } from './routes/policies.ts';
import { presenceRoutes } from './routes/presence.ts';
import { reachabilityRoutes } from './routes/reachability.ts';
import { statisticsRoutes } from './routes/statistics.ts';
import { limitRoutes } from './routes/stream-limits.ts';
import { streamRoutes } from './routes/stream-requests.ts';
import { liveStreamRoutes } from './routes/streams.ts';
import { unsupportedRoutes } from './routes/unsupported.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The format of this route's error bodies; Azure's by default. */
    errors?: ErrorFormat;
  }
}

/** The REST API as a request listener without a socket of its own. Any `api-version` is accepted. */
export interface RestApi {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  close(): Promise<void>;
}

export async function createApi(deps: ApiDeps): Promise<RestApi> {
  let handle: RestApi['handle'] | undefined;
  const api: Api = fastify({
    serverFactory: (handler) => {
      handle = handler;
      // This server never listens: the HTTPS listener passes its requests to `handle`.
      return new Server();
    },
    bodyLimit: deps.limits.maxBodyBytes,
    // A 128-character id with every character escaped is 384 characters long.
    routerOptions: { maxParamLength: 512, ignoreTrailingSlash: true },
    forceCloseConnections: false,
    exposeHeadRoutes: false,
    // Errors that occur before routing, such as a malformed percent escape.
    frameworkErrors: (error, _request, reply) => void replyWithError(reply, fromFastify(error), 'azure'),
  }).withTypeProvider();
  api.addConstraintStrategy(eventStreamConstraint);
  api.setValidatorCompiler(validatorCompiler);
  api.setSerializerCompiler(serializerCompiler);
  acceptEmptyBodies(api);
  api.setErrorHandler((error, request, reply) => {
    const mapped = fromFastify(error as Error);
    const fault = faultOf(mapped, `${request.method} ${request.routeOptions.url ?? ''}`);
    if (fault !== undefined) deps.onEvent(fault);
    return replyWithError(reply, mapped, request.routeOptions.config.errors ?? 'azure');
  });
  api.setNotFoundHandler((_request, reply) => replyWithError(reply, new CulvertError('route_not_found'), 'azure'));

  const authorization = new Authorization(deps);
  api.get('/', { schema: { tags: ['hub'] } }, () => Promise.resolve(deps.endpoints()));
  streamRoutes(api, deps, authorization);
  deviceRoutes(api, deps, authorization);
  bulkRoutes(api, deps, authorization);
  statisticsRoutes(api, deps, authorization);
  moduleRoutes(api, deps, authorization);
  policyRoutes(api, deps, authorization);
  authorityRoutes(api, deps, authorization);
  liveStreamRoutes(api, deps, authorization);
  reachabilityRoutes(api, deps, authorization);
  presenceRoutes(api, deps, authorization);
  limitRoutes(api, deps, authorization);
  logRoutes(api, deps, authorization);
  auditRoutes(api, deps, authorization);
  unsupportedRoutes(api);
  await api.ready();
  if (handle === undefined) throw new CulvertError('internal', 'The REST API has no request listener.');
  return { handle, close: () => api.close() };
}

/**
 * Parses every body as JSON, whatever its content type, and an empty body as undefined. Azure's C tests send an empty body with a JSON content
 * type, which Fastify's own parser refuses; other clients send an empty body without a content type.
 */
function acceptEmptyBodies(api: Api): void {
  api.removeAllContentTypeParsers();
  api.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    try {
      done(null, JSON.parse(String(body)));
    } catch (error) {
      done(new CulvertError('argument_invalid', 'The body is not JSON.', { cause: error }));
    }
  });
}
