import { randomBytes } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Address } from '../traffic/connection.ts';
import type { Amounts } from './amounts.ts';
import { Deviation, within } from './deviation.ts';
import { Endpoint } from './endpoint.ts';

const HOST = '127.0.0.1';
/** Bytes that a connection begins with, by which the target finds the client's end of it. */
const TAG_BYTES = 8;
/** Attempts to listen again on the target's port, and the milliseconds between them: an outgoing connection may use the port meanwhile. */
const LISTEN_ATTEMPTS = 50;
const LISTEN_RETRY_MS = 100;

/** Both ends of one connection through the tunnel. */
export interface Pair {
  readonly client: Endpoint;
  readonly server: Endpoint;
}

export type Side = keyof Pair;

/** Where the tunnel listens, and the target that it leads to: opens connections and hands out both ends of each. */
export class TunnelEnds {
  readonly target: Address;
  /** Where the tunnel listens; set before the first connection, since a tunnel may need the target's port to start. */
  entry: Address | undefined;
  readonly #amounts: Pick<Amounts, 'openMs' | 'waitMs'>;
  readonly #awaited = new Map<string, (socket: Socket) => void>();
  readonly #sockets = new Set<Socket>();
  readonly #accepted = new Set<Socket>();
  #server: Server;

  private constructor(server: Server, port: number, amounts: Pick<Amounts, 'openMs' | 'waitMs'>) {
    this.#server = server;
    this.target = { host: HOST, port };
    this.#amounts = amounts;
    this.#serve();
  }

  /**
   * Starts the target on 127.0.0.1.
   * @param port 0 for any that is free
   */
  static async listen(port: number, amounts: Pick<Amounts, 'openMs' | 'waitMs'>): Promise<TunnelEnds> {
    const server = createTarget();
    return new TunnelEnds(server, await listenOn(server, port), amounts);
  }

  /** Connections that are open at the target. */
  get openAtTarget(): number {
    return this.#accepted.size;
  }

  /**
   * Opens a connection through the tunnel and waits until it has reached the target.
   * @param name of the connection, for messages; empty when there is but one
   * @throws Deviation when it does not
   */
  async open(name = ''): Promise<Pair> {
    const { openMs, waitMs } = this.#amounts;
    const tag = randomBytes(TAG_BYTES);
    const key = tag.toString('hex');
    const reached = new Promise<Socket>((resolve) => this.#awaited.set(key, resolve));
    const socket = this.connect();
    const failed = new Promise<never>((_resolve, reject) => {
      socket.once('error', ({ message }) => reject(new Deviation(`${name}client: ${message} when connecting`)));
      socket.once('close', () =>
        reject(new Deviation(`${name}client: the connection was closed before it reached the target`)),
      );
    });
    socket.write(tag);
    try {
      const accepted = await within(
        openMs,
        `${name}the connection reaches the target`,
        Promise.race([reached, failed]),
      );
      // Until now the client's socket was read, a little: otherwise nobody would see that it is reset.
      const client = new Endpoint(socket, `${name}client`, waitMs);
      return { client, server: new Endpoint(accepted, `${name}server`, waitMs) };
    } finally {
      this.#awaited.delete(key);
    }
  }

  /** A connection to the tunnel that nobody waits for at the target, which ends it when the client does. */
  connect(): Socket {
    if (this.entry === undefined) throw new Error('it is not known where the tunnel listens');
    return this.#keep(connect({ ...this.entry, noDelay: true, allowHalfOpen: true }));
  }

  /** Has nothing listen on the target's port while `act` runs, so that the operating system refuses connections to it. */
  async whileRefusing<T>(act: () => Promise<T>): Promise<T> {
    this.#server.close();
    try {
      return await act();
    } finally {
      this.#server = createTarget();
      await listenAgain(this.#server, this.target.port);
      this.#serve();
    }
  }

  /** Destroys every connection at both ends. */
  release(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.release();
  }

  #serve(): void {
    this.#server.on('connection', (socket) => {
      this.#keep(socket);
      this.#accepted.add(socket);
      socket.on('close', () => this.#accepted.delete(socket));
      const readTag = (): void => {
        const tag: unknown = socket.read(TAG_BYTES);
        if (!Buffer.isBuffer(tag)) return;
        socket.off('readable', readTag).off('end', end);
        const take = this.#awaited.get(tag.toString('hex'));
        if (take === undefined) socket.on('end', end).resume();
        else take(socket);
      };
      const end = (): void => void socket.end();
      socket.on('readable', readTag).on('end', end);
    });
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // Whoever uses the socket listens too; an error of one that nobody uses any more says nothing.
    socket.on('error', () => undefined);
    return socket;
  }
}

function createTarget(): Server {
  return createServer({ noDelay: true, allowHalfOpen: true });
}

function listenOn(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: HOST, backlog: 511 }, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** @throws Error when the port stays in use */
async function listenAgain(server: Server, port: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await listenOn(server, port);
      return;
    } catch (error) {
      if (attempt === LISTEN_ATTEMPTS) throw error;
      await delay(LISTEN_RETRY_MS);
    }
  }
}
