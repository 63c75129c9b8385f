import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import {
  Budget,
  DeviceSessions,
  type DeviceSessionsOptions,
  linkOverDuplex,
  nodeEnvironment,
  ServiceSession,
  type ServiceSessionOptions,
  SocketRelay,
} from '../src/index.ts';

/** A session between two ends in this process, over links that are plain TCP connections, and a listener whose connections go through it. */
export class SocketTunnel {
  readonly session: ServiceSession;
  readonly device: DeviceSessions;
  readonly #linkServer: Server;
  readonly #listener: Server;
  readonly #links = new Set<Socket>();
  /** Links that were made. */
  linkCount = 0;
  /** Connections of programs to the listener that have not closed. */
  openAtListener = 0;
  /** While it is set, links wait for {@link release}. */
  #held: (() => void)[] | undefined;

  private constructor(linkServer: Server, listener: Server, targetPort: number, options: TunnelOptions) {
    this.#linkServer = linkServer;
    this.#listener = listener;
    const deviceOptions: DeviceSessionsOptions = {
      environment: nodeEnvironment,
      deviceId: 'device',
      moduleId: '',
      opened: (connection) => {
        const socket = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
        const relay = new SocketRelay(socket, () => undefined);
        relay.attach(connection);
        connection.events = relay;
        const failed = () => connection.refuse('refused');
        socket.once('error', failed);
        socket.once('connect', () => {
          socket.off('error', failed);
          connection.accept();
          relay.start(connection);
        });
      },
      ...options.device,
    };
    this.device = new DeviceSessions(deviceOptions);
    const offer = () => ({ sessionId: this.session.id, caller: 'policy:service', mayOpen: () => true });
    linkServer.on('connection', (socket) => {
      this.#track(socket);
      linkOverDuplex(socket, NO_BINDING, (transport) => this.device.accept(transport, offer()));
    });
    this.session = new ServiceSession({
      environment: nodeEnvironment,
      budget: new Budget(67_108_864),
      deviceId: 'device',
      moduleId: '',
      dial: (session) => {
        if (this.#held === undefined) this.#dial(session);
        else this.#held.push(() => this.#dial(session));
      },
      events: { closed: () => undefined },
      ...options.service,
    });
    listener.on('connection', (socket) => {
      this.openAtListener++;
      socket.once('close', () => this.openAtListener--);
      const relay = new SocketRelay(socket, () => undefined);
      const connection = this.session.open('target', relay);
      if (connection === undefined) socket.resetAndDestroy();
      else relay.start(connection);
    });
  }

  static async start(targetPort: number, options: TunnelOptions = {}): Promise<SocketTunnel> {
    const linkServer = createServer({ noDelay: true });
    const listener = createServer({ allowHalfOpen: true, noDelay: true });
    for (const server of [linkServer, listener]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    const tunnel = new SocketTunnel(linkServer, listener, targetPort, options);
    tunnel.session.start();
    return tunnel;
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  #dial(session: ServiceSession): void {
    const socket = connect({ port: (this.#linkServer.address() as AddressInfo).port, host: '127.0.0.1' });
    const failed = () => session.dialFailed({});
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      socket.setNoDelay(true);
      this.linkCount++;
      this.#track(socket);
      linkOverDuplex(socket, NO_BINDING, (transport) => session.linkReady(transport));
    });
  }

  #track(socket: Socket): void {
    this.#links.add(socket);
    socket.on('close', () => this.#links.delete(socket));
    socket.on('error', () => undefined);
  }

  /** Resets every link that there is. */
  cut(): void {
    for (const socket of this.#links) socket.resetAndDestroy();
  }

  /** Resets every link, and lets no other be made before {@link release}. */
  hold(): void {
    this.#held = [];
    this.cut();
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const dial of held) dial();
  }

  async stop(): Promise<void> {
    this.session.close('The test is over.');
    this.device.close('The test is over.');
    this.cut();
    for (const server of [this.#linkServer, this.#listener]) {
      server.close();
      await once(server, 'close');
    }
  }
}

export interface TunnelOptions {
  readonly service?: Partial<ServiceSessionOptions>;
  readonly device?: Partial<DeviceSessionsOptions>;
}

const NO_BINDING = new Uint8Array(0);
