import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { authorize } from '../auth/authorize.ts';
import type { Principal } from '../auth/principal.ts';
import { principalStillHolds } from '../auth/revocation.ts';
import type { EventSink } from '../observe/events.ts';
import type { PolicyRecord, PolicyStore, RegistryListener } from '../registry/registry.ts';
import type { ServiceConnection, ServiceGateway } from './service-connection.ts';

/**
 * Maximum service connections at the same time, over all policies. A service program opens one, so this is the number of programs. The memory of one
 * connection is limited like a device's. Devices are limited by the registry; the connections of a policy have no other limit.
 */
const MAX_SERVICE_CONNECTIONS = 1_024;

export interface ServiceConnectionsOptions {
  readonly authenticate: ServiceGateway['authenticate'];
  readonly policies: Pick<PolicyStore, 'get'>;
  /** Aborted when the hub stops; its reason is sent to the services. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/** The open service connections of this hub. Closes a connection when its policy's key or permission is removed, and all when the hub stops. */
export class ServiceConnections implements ServiceGateway {
  readonly #options: ServiceConnectionsOptions;
  readonly #connections = new Set<ServiceConnection>();

  constructor(options: ServiceConnectionsOptions) {
    this.#options = options;
    const { draining } = options;
    draining.addEventListener('abort', () => this.#closeAll(CulvertError.from(draining.reason)), { once: true });
  }

  get size(): number {
    return this.#connections.size;
  }

  async authenticate(token: string): Promise<Principal> {
    const { draining, authenticate } = this.#options;
    if (draining.aborted) throw draining.reason;
    return authenticate(token);
  }

  attach(connection: ServiceConnection): void {
    const { draining } = this.#options;
    if (draining.aborted) throw draining.reason;
    if (!this.#connections.has(connection)) {
      if (this.size >= MAX_SERVICE_CONNECTIONS)
        throw new CulvertError('too_many_requests', `At most ${MAX_SERVICE_CONNECTIONS} services may be connected.`);
      this.#connections.add(connection);
      this.#report(connection);
    }
    void this.#verify(connection);
  }

  /** Closes the connections that a changed policy no longer permits. */
  readonly revocation: RegistryListener = {
    identityChanged: () => undefined,
    authoritiesChanged: () => undefined,
    policyChanged: (policy) => {
      for (const connection of [...this.#connections]) endUnlessAllowed(connection, policy);
    },
  };

  /** Checks the policy again: its key may have been rotated after the token was verified and before the connection was added here. */
  async #verify(connection: ServiceConnection): Promise<void> {
    const { owner } = connection.principal.proof;
    if (owner.kind !== 'policy') return;
    try {
      const policy = await this.#options.policies.get(owner.policy);
      if (policy === undefined) connection.close(new CulvertError('revoked', 'The policy in use was deleted.'));
      else endUnlessAllowed(connection, policy);
    } catch (error) {
      connection.close(CulvertError.from(error));
    }
  }

  #report(connection: ServiceConnection): void {
    const { clock, onEvent } = this.#options;
    const { protocol, remoteAddress, connectedAt, principal } = connection;
    const about = { principal: principal.name, protocol, remoteAddress };
    void connection.closed.then(({ code, message }) => {
      this.#connections.delete(connection);
      const { clientVersion } = connection;
      const connectedMs = clock.now() - connectedAt;
      onEvent({ type: 'service-disconnected', ...about, clientVersion, error: code, detail: message, connectedMs });
    });
    onEvent({ type: 'service-connected', ...about });
  }

  #closeAll(error: CulvertError): void {
    for (const connection of [...this.#connections]) connection.close(error);
  }
}

function endUnlessAllowed(connection: ServiceConnection, policy: PolicyRecord): void {
  const { principal } = connection;
  const { owner } = principal.proof;
  if (owner.kind !== 'policy' || owner.policy !== policy.name) return;
  if (!principalStillHolds(principal, { policy }))
    connection.close(new CulvertError('revoked', 'The key in use was removed.'));
  else if (!mayConnect(principal, policy))
    connection.close(new CulvertError('revoked', 'The policy in use no longer permits this.'));
}

function mayConnect(principal: Principal, { permissions }: PolicyRecord): boolean {
  try {
    authorize({ ...principal, permissions: new Set(permissions) }, 'service.connect');
    return true;
  } catch {
    return false;
  }
}
