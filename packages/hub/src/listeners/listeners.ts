import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CulvertError, LIMITS } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import {
  type CertificateListeners,
  certificateListeners,
  type HubConfig,
  parseListen,
  proxiedListeners,
} from '../config/config.ts';
import { ProxySources } from '../config/proxy-sources.ts';
import type { EventSink } from '../observe/events.ts';
import type { ControlListenKey } from '../observe/listener.ts';
import type { KeyPair } from '../tls/key-pair.ts';
import { secureContext } from '../tls/secure-context.ts';
import { type AdminDeps, createAdminListener } from './admin-listener.ts';
import { HandshakeBudget } from './handshake-budget.ts';
import {
  createCertificateTls,
  createControlListener,
  createHttpsListener,
  type UpgradeHandler,
} from './https-listener.ts';
import { closeServer, type Listening, listen } from './listen.ts';
import { UnauthenticatedConnections } from './unauthenticated-connections.ts';

/** The handlers of the listeners' connections. */
export interface ConnectionHandlers {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  readonly onControl: UpgradeHandler;
  readonly onGateway: UpgradeHandler;
  /** A connection to the listener of a control transport over TLS. */
  readonly onConnection: (listenKey: ControlListenKey, socket: TLSSocket) => Promise<boolean>;
}

/** A control transport that may have its own listener, over TLS without WebSocket. */
export interface ListeningTransport {
  readonly listenKey: ControlListenKey;
  /** ALPN protocol names: a client that offers any must offer one of these. Absent: the protocol has no ALPN name. */
  readonly alpn?: readonly string[];
}

export interface ListenersOptions {
  readonly config: HubConfig;
  /** A transport without an address in the configuration gets no listener. */
  readonly transports: readonly ListeningTransport[];
  readonly pair: KeyPair;
  readonly admin: AdminDeps;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/**
 * The hub's listeners. They are opened before the handlers exist, because grants and connection strings need the port. Until `setHandlers` is called,
 * every connection is closed at once.
 */
export class Listeners {
  readonly address: Listening;
  /** Addresses of the transports that have a listener. */
  readonly controlAddresses: ControlAddresses;
  readonly adminAddress: Listening;
  /** Connections that are accepted and not yet authenticated. */
  readonly unauthenticated: UnauthenticatedConnections;
  readonly #servers: ReturnType<typeof createServers>;
  readonly #state: ListenerState;

  private constructor(servers: ReturnType<typeof createServers>, state: ListenerState, addresses: Addresses) {
    this.address = addresses.front;
    this.adminAddress = addresses.admin;
    this.controlAddresses = addresses.control;
    this.unauthenticated = state.unauthenticated;
    this.#servers = servers;
    this.#state = state;
  }

  /** @throws CulvertError `config_invalid` when an address cannot be bound; all listeners are closed then */
  static async open(options: ListenersOptions): Promise<Listeners> {
    const { config, clock } = options;
    const unauthenticated = new UnauthenticatedConnections({
      clock,
      maxPerAddress: config.limits.unauthenticatedPerAddress,
      maxTotal: config.limits.unauthenticatedConnections,
    });
    const certificates = certificateListeners(config);
    const state: ListenerState = { unauthenticated, certificates, handlers: undefined };
    const servers = createServers(options, state);
    const admin = parseListen('adminListen', config.adminListen);
    try {
      const addresses: Addresses = {
        front: await listen(servers.front, parseListen('listen', config.listen), 'listen'),
        admin: await listen(servers.admin, { host: admin.host ?? '127.0.0.1', port: admin.port }, 'adminListen'),
        control: await listenForControl(servers.control, config),
      };
      return new Listeners(servers, state, addresses);
    } catch (error) {
      const { control, named, front, admin: probes } = servers;
      await Promise.all([front, probes, named, ...control.values()].map((server) => server && closeServer(server)));
      throw error;
    }
  }

  /** Passes accepted connections to these handlers from now on. */
  setHandlers(handlers: ConnectionHandlers): void {
    this.#state.handlers = handlers;
  }

  /** Presents this certificate to new connections. */
  present(pair: KeyPair): void {
    const { front, control, named } = this.#servers;
    const { listeners } = this.#state.certificates;
    front.setSecureContext(secureContext(pair, listeners.has('listen')));
    for (const [key, server] of control) server.setSecureContext(secureContext(pair, listeners.has(key)));
    named?.setSecureContext(secureContext(pair, true));
  }

  /** Stops accepting connections; resolves when the last connection has ended. Probes are still answered. */
  close(): Promise<void> {
    const { front, control } = this.#servers;
    return Promise.all([front, ...control.values()].map((server) => closeServer(server))).then(() => undefined);
  }

  /** Closes the connections that no other part of the hub closes: HTTP connections between two requests, and unauthenticated connections. */
  destroyConnections(): void {
    this.#servers.front.closeAllConnections();
    this.unauthenticated.destroyAll();
  }

  /** Stops answering probes and closes their connections. */
  closeProbes(): Promise<void> {
    const { admin } = this.#servers;
    const closed = closeServer(admin);
    admin.closeAllConnections();
    return closed;
  }
}

interface Addresses {
  readonly front: Listening;
  readonly admin: Listening;
  readonly control: ControlAddresses;
}

/** Addresses of the control listeners by configuration key. */
type ControlAddresses = ReadonlyMap<ControlListenKey, Listening>;

interface ListenerState {
  readonly unauthenticated: UnauthenticatedConnections;
  readonly certificates: CertificateListeners;
  handlers: ConnectionHandlers | undefined;
}

function createServers({ config, transports, pair, admin, clock, onEvent }: ListenersOptions, state: ListenerState) {
  const common = {
    pair,
    clock,
    unauthenticated: state.unauthenticated,
    budget: new HandshakeBudget(),
    authenticateMs: LIMITS.authenticateMs,
    onTlsError: (reason: Error, remoteAddress: string) => {
      const error = reason instanceof CulvertError ? reason.code : 'protocol_error';
      onEvent({ type: 'connection-refused', listener: 'tls', remoteAddress, error, detail: reason.message });
    },
  };
  const proxied = proxiedListeners(config);
  const sources = new ProxySources(proxied.from);
  const proxiesOf = (key: 'listen' | ControlListenKey) => (proxied.listeners.has(key) ? sources : undefined);
  const rejectEarly = (socket: TLSSocket) => {
    socket.destroy();
    return Promise.resolve(false);
  };
  const { listeners, hosts } = state.certificates;
  const named = hosts.size === 0 ? undefined : createCertificateTls(common);
  const control = transports.filter(({ listenKey }) => config[listenKey] !== undefined);
  const controlListener = (transport: ListeningTransport) =>
    createControlListener({
      ...{ ...common, alpn: transport.alpn, asksForCertificate: listeners.has(transport.listenKey) },
      proxies: proxiesOf(transport.listenKey),
      onConnection: (socket) => state.handlers?.onConnection(transport.listenKey, socket) ?? rejectEarly(socket),
    });
  return {
    named,
    front: createHttpsListener({
      ...common,
      asksForCertificate: listeners.has('listen'),
      proxies: proxiesOf('listen'),
      namedHosts: named && { names: hosts, server: named },
      idleMs: 2 * LIMITS.handshakeMs,
      onRequest: (request, response) =>
        state.handlers === undefined ? response.destroy() : state.handlers.onRequest(request, response),
      onControl: (request, socket, head) => state.handlers?.onControl(request, socket, head) ?? rejectEarly(socket),
      onGateway: (request, socket, head) => state.handlers?.onGateway(request, socket, head) ?? rejectEarly(socket),
    }),
    control: new Map(control.map((transport) => [transport.listenKey, controlListener(transport)])),
    admin: createAdminListener(admin),
  };
}

/** Opens the listeners one after the other, so that the error names the first address that cannot be bound. */
async function listenForControl(
  servers: ReadonlyMap<ControlListenKey, Server>,
  config: HubConfig,
): Promise<ControlAddresses> {
  const addresses = new Map<ControlListenKey, Listening>();
  for (const [key, server] of servers)
    addresses.set(key, await listen(server, parseListen(key, config[key] ?? ''), key));
  return addresses;
}
