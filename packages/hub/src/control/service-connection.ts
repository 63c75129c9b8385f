import type { CulvertError } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import type { ControlProtocol } from '../observe/listener.ts';

/**
 * A service's connection to the hub over AMQP: Azure's service clients open one before they do anything else. It carries no stream and
 * reaches no device; it only stands.
 */
export interface ServiceConnection {
  /** Replaced by a renewed one while the connection lives. */
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  /** Milliseconds since the epoch. */
  readonly connectedAt: number;
  /** What software the service says it is; see `ControlChannel.clientVersion`. */
  readonly clientVersion?: string | undefined;
  /** Ends the connection, telling the service why. Idempotent. */
  close(error: CulvertError): void;
  /** Resolves, once, with why the connection ended; never rejects. */
  readonly closed: Promise<CulvertError>;
}

/** What a control transport needs to let services in. */
export interface ServiceGateway {
  /** Verifies a policy's token. @throws CulvertError, also `forbidden` for a policy without `ServiceConnect` */
  authenticate(token: string): Promise<Principal>;
  /**
   * The connection is live. Called again when its principal was renewed.
   * @throws CulvertError `too_many_requests` when the hub holds as many as it takes; `draining`
   */
  attach(connection: ServiceConnection): void;
}
