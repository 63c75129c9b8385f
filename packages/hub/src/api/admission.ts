import { CulvertError, peerAddress } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import type { ApiDeps, Authenticate } from './api-deps.ts';

/**
 * Authenticates a request by its `Authorization` header. The token's audience is held against the decoded path; a token without a policy
 * is held against the keys of the device or module that is named.
 */
export function requestAuthenticator(deps: Pick<ApiDeps, 'authenticator' | 'onProven' | 'onEvent'>): Authenticate {
  return async (request, identity) => {
    try {
      const token = request.headers.authorization;
      if (token === undefined) throw new CulvertError('unauthorized', 'The request has no Authorization header.');
      const target = { path: pathBelowHost(request), ...(identity === undefined ? {} : { identity }) };
      const principal = await deps.authenticator.authenticateSas(token, target);
      deps.onProven(request);
      return principal;
    } catch (reason) {
      const error = CulvertError.from(reason);
      deps.onEvent({
        type: 'connection-refused',
        door: 'rest',
        remoteAddress: peerAddress(request.raw.socket),
        error: error.code,
        detail: error.message,
      });
      throw error;
    }
  };
}

function pathBelowHost(request: FastifyRequest): string {
  // An absolute address is taken too (RFC 9112 §3.2.2).
  const path = (request.url.split('?', 1)[0] as string).replace(/^https?:\/\/[^/]*/i, '');
  try {
    return decodeURIComponent(path.slice(1)).replace(/\/$/, '');
  } catch {
    throw new CulvertError('argument_invalid', 'The path has a broken percent escape.');
  }
}
