import { connect, createServer, type Server, type Socket } from 'node:net';

/** The address to which a {@link FaultProxy} forwards. */
export interface FaultTarget {
  readonly port: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
}

type Fault = 'none' | 'paused' | 'black-hole' | 'refusing';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/**
 * A TCP forwarder on its own port that simulates network faults. It forwards half-close; a reset of one end resets the other.
 *
 * ```ts
 * const proxy = await FaultProxy.start({ port: hub.port });
 * proxy.cut();          // resets every connection
 * await proxy.close();
 * ```
 */
export class FaultProxy {
  /** Delay in milliseconds of each chunk, in either direction. */
  delayMs = 0;
  readonly #target: FaultTarget;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #fault: Fault = 'none';
  #accepted = 0;
  #forwarded = 0;

  private constructor(target: FaultTarget) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  static async start(target: FaultTarget): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('The proxy does not listen.');
    return address.port;
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Number of connections accepted since the start. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Bytes forwarded since the start, in both directions. */
  get forwarded(): number {
    return this.#forwarded;
  }

  /** Stops reading on every connection. Both ends see back-pressure, and no data is lost. */
  pause(): void {
    this.#set('paused');
  }

  /** Reads and discards all data. Both ends see their data acknowledged. */
  blackHole(): void {
    this.#set('black-hole');
  }

  /** Resets new connections at once; open connections continue. */
  refuse(): void {
    this.#set('refusing');
  }

  /** Forwards again. Data that was discarded is not sent again. */
  resume(): void {
    this.#set('none');
  }

  /** Resets every connection. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Resets every connection and stops listening. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #set(fault: Fault): void {
    this.#fault = fault;
    for (const { client, server } of this.#pairs) {
      for (const socket of [client, server]) {
        if (fault === 'paused') socket.pause();
        else socket.resume();
      }
    }
  }

  #accept(client: Socket): void {
    this.#accepted++;
    client.on('error', () => client.destroy());
    if (this.#fault === 'refusing') {
      client.resetAndDestroy();
      return;
    }
    const { host = '127.0.0.1', port } = this.#target;
    const server = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const pair: Pair = { client, server };
    this.#pairs.add(pair);
    server.on('error', () => server.destroy());
    this.#forward(client, server, pair);
    this.#forward(server, client, pair);
    if (this.#fault === 'paused') this.#set('paused');
  }

  #forward(from: Socket, to: Socket, pair: Pair): void {
    from.on('data', (chunk: Buffer) => {
      if (this.#fault === 'black-hole') return;
      this.#forwarded += chunk.length;
      this.#late(() => {
        if (!to.destroyed && !to.write(chunk)) from.pause();
      });
    });
    to.on('drain', () => {
      if (this.#fault !== 'paused') from.resume();
    });
    from.on('end', () => {
      if (this.#fault !== 'black-hole') this.#late(() => to.end());
    });
    from.on('close', (hadError) => {
      this.#pairs.delete(pair);
      if (hadError || !from.readableEnded) to.resetAndDestroy();
    });
  }

  /** Runs the action after `delayMs`. Timers with the same delay fire in the order in which they were set, so the bytes stay in order. */
  #late(action: () => void): void {
    if (this.delayMs === 0) action();
    else setTimeout(action, this.delayMs);
  }
}
