import { CulvertError, type Identity, peerAddress } from '@culvert/protocol';
import type { FastifyRequest } from 'fastify';
import { isIdentityToken } from '../auth/authenticate.ts';
import { type Action, authorize } from '../auth/authorize.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApiDeps } from './deps.ts';

/**
 * Authenticates and authorises requests by their `Authorization` header before their body is read, so that the hub buffers nothing for
 * unauthenticated clients.
 */
export class Authorization {
  readonly #deps: Pick<ApiDeps, 'authenticator' | 'onAuthenticated' | 'onEvent'>;
  readonly #principals = new WeakMap<FastifyRequest, Principal>();

  constructor(deps: Pick<ApiDeps, 'authenticator' | 'onAuthenticated' | 'onEvent'>) {
    this.#deps = deps;
  }

  /**
   * Route options that require authorisation for this action. If the path contains a device id, a token signed with that device's key is
   * accepted as well as a policy's token, for actions that devices may perform themselves.
   */
  to(action: Action): { onRequest(request: FastifyRequest): Promise<void> } {
    return {
      onRequest: async (request) => {
        const { deviceId } = request.params as { readonly deviceId?: string };
        const subject = deviceId === undefined ? undefined : { deviceId };
        const principal = await this.#authenticate(request, subject);
        authorize(principal, action, subject);
        this.#principals.set(request, principal);
      },
    };
  }

  /** The principal of an authorised request. */
  principal(request: FastifyRequest): Principal {
    const principal = this.#principals.get(request);
    if (principal === undefined) throw new CulvertError('internal', 'A route requires no authorisation.');
    return principal;
  }

  /** Checks the token's audience against the decoded path; a token without a policy name is verified with the keys of `identity`. */
  async #authenticate(request: FastifyRequest, identity: Identity | undefined): Promise<Principal> {
    const { authenticator, onAuthenticated, onEvent } = this.#deps;
    const token = request.headers.authorization;
    try {
      if (token === undefined) throw new CulvertError('unauthorized', 'The request has no Authorization header.');
      const target = { path: pathBelowHost(request), ...(identity === undefined ? {} : { identity }) };
      const principal = await authenticator.authenticateSas(token, target);
      onAuthenticated(request);
      return principal;
    } catch (reason) {
      const error = CulvertError.from(reason);
      onEvent({
        type: 'connection-refused',
        listener: 'rest',
        remoteAddress: peerAddress(request.raw.socket),
        error: error.code,
        detail: error.message,
        claimed: identity !== undefined && isIdentityToken(token) ? identity : undefined,
      });
      throw error;
    }
  }
}

function pathBelowHost(request: FastifyRequest): string {
  // The absolute form of the request target is allowed too (RFC 9112 §3.2.2).
  const path = (request.url.split('?', 1)[0] as string).replace(/^https?:\/\/[^/]*/i, '');
  try {
    return decodeURIComponent(path.slice(1)).replace(/\/$/, '');
  } catch {
    throw new CulvertError('argument_invalid', 'The path has a broken percent escape.');
  }
}
