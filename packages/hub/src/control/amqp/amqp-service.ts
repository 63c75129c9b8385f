import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Receiver, Sender } from 'rhea';
import type { Principal } from '../../auth/principal.ts';
import type { ControlProtocol } from '../../observe/listener.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import type { ServiceConnection } from '../service-connection.ts';
import { CredentialExpiry } from './credential-expiry.ts';
import { clientVersionOf } from './link-properties.ts';

/** A service's connection, which ends when the service's token expires without being renewed. */
class AmqpServiceConnection implements ServiceConnection {
  readonly protocol: ControlProtocol;
  readonly remoteAddress: string;
  readonly connectedAt: number;
  readonly closed: Promise<CulvertError>;
  clientVersion: string | undefined;
  readonly #end: (error: CulvertError) => void;
  readonly #credential: CredentialExpiry;
  #resolveClosed: (error: CulvertError) => void = () => {};

  constructor(
    principal: Principal,
    { protocol, remoteAddress }: ControlOrigin,
    options: { clock: Clock; end: (error: CulvertError) => void },
  ) {
    this.protocol = protocol;
    this.remoteAddress = remoteAddress;
    this.connectedAt = options.clock.now();
    this.#end = options.end;
    this.#credential = new CredentialExpiry(principal, options.clock, () =>
      this.close(new CulvertError('token_expired')),
    );
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get principal(): Principal {
    return this.#credential.principal;
  }

  renew(principal: Principal): void {
    this.#credential.renew(principal);
  }

  close(error: CulvertError): void {
    this.#end(error);
  }

  ended(error: CulvertError): void {
    this.#credential.cancel();
    this.#resolveClosed(error);
  }
}

export interface AmqpServiceOptions {
  readonly origin: ControlOrigin;
  readonly deps: Pick<ControlDeps, 'services' | 'clock'>;
  /** Ends the connection. */
  readonly end: (error: CulvertError) => void;
  /** Called before the service is attached. */
  readonly onAuthenticated: () => void;
}

/** The service of a connection that carries no devices. A policy's token for the whole hub authenticates it. */
export class AmqpService {
  readonly #options: AmqpServiceOptions;
  #connection: AmqpServiceConnection | undefined;
  #verifying = 0;
  #hasEnded = false;

  constructor(options: AmqpServiceOptions) {
    this.#options = options;
  }

  /** Whether the connection belongs to a service, or a service's token is being verified. */
  get isClaimed(): boolean {
    return this.#connection !== undefined || this.#verifying > 0;
  }

  /** Whether a service has authenticated. */
  get isAuthenticated(): boolean {
    return this.#connection !== undefined;
  }

  /**
   * Verifies a policy's token and attaches the connection as a service's, or renews the service's credential.
   * @throws CulvertError as `ServiceGateway`; `device_gone` when the connection ended meanwhile
   */
  async admit(token: string): Promise<void> {
    const { deps, origin, end, onAuthenticated } = this.#options;
    this.#verifying++;
    try {
      const principal = await deps.services.authenticate(token);
      if (this.#hasEnded) throw new CulvertError('device_gone');
      if (this.#connection !== undefined) {
        this.#connection.renew(principal);
        deps.services.attach(this.#connection);
        return;
      }
      const connection = new AmqpServiceConnection(principal, origin, { clock: deps.clock, end });
      try {
        deps.services.attach(connection);
      } catch (reason) {
        connection.ended(CulvertError.from(reason));
        throw reason;
      }
      this.#connection = connection;
      onAuthenticated();
    } finally {
      this.#verifying--;
    }
  }

  /** The service attached a link. */
  linkOpened(link: Sender | Receiver): void {
    if (this.#connection !== undefined) this.#connection.clientVersion ??= clientVersionOf(link);
  }

  /** The connection has ended. */
  ended(error: CulvertError): void {
    this.#hasEnded = true;
    this.#connection?.ended(error);
  }
}
