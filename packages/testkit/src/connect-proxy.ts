import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';

/** An HTTP proxy that supports only CONNECT, like a corporate proxy, and records the requested targets. */
export class ConnectProxy {
  /** `host:port` of every CONNECT, in order. */
  readonly targets: string[] = [];
  /** While true, new connections are closed at once. */
  isBlocked = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#keep(socket);
      if (this.isBlocked) socket.destroy();
    });
    server.on('request', (_request, response) => response.writeHead(405).end());
    server.on('connect', (request, client: Socket) => {
      const target = request.url ?? '';
      this.targets.push(target);
      const { hostname, port } = new URL(`http://${target}`);
      const upstream = connect(Number(port), hostname, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        pipeline(client, upstream, client, () => undefined);
      });
      this.#keep(upstream);
      upstream.on('error', () => client.destroy());
      client.on('error', () => upstream.destroy());
    });
  }

  /** Listens on a free port of 127.0.0.1. */
  static async start(): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(createServer());
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Closes every connection; new ones are served. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
