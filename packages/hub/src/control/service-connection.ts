import type { CulvertError } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import type { ControlProtocol } from '../observe/listener.ts';

/**
 * A service's connection to the hub over AMQP. Azure's service clients open one before they do anything else. It carries no streams and sends nothing
 * to devices; the hub only keeps it open.
 */
export interface ServiceConnection {
  /** The authenticated principal. A renewed principal may replace it while the connection lives. */
  readonly principal: Principal;
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  /** Milliseconds since the epoch. */
  readonly connectedAt: number;
  /** The software that the service reports; see `ControlChannel.clientVersion`. */
  readonly clientVersion?: string | undefined;
  /** Ends the connection, and sends the service the reason. Idempotent. */
  close(error: CulvertError): void;
  /** Resolves with the reason when the connection has ended; never rejects. */
  readonly closed: Promise<CulvertError>;
}

/** The part of the hub that a control transport needs to accept services. */
export interface ServiceGateway {
  /** Verifies a policy's token. @throws CulvertError; `forbidden` for a policy without `ServiceConnect` */
  authenticate(token: string): Promise<Principal>;
  /**
   * Adds a live connection. Called again when its principal is renewed.
   * @throws CulvertError `too_many_requests` if the hub has the maximum number of service connections; `draining`
   */
  attach(connection: ServiceConnection): void;
}
