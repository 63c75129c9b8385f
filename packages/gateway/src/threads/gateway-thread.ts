import type { MessagePort } from 'node:worker_threads';
import { MessageChannel } from 'node:worker_threads';
import { CLOSE_CAUSES, CulvertError } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import { BufferPool } from '../buffer-pool.ts';
import { type Arrival, Gateway } from '../gateway.ts';
import { GATEWAY_LIMITS } from '../gateway-limits.ts';
import { BlockMemory } from './block-memory.ts';
import { ForwardedSocket } from './forwarded-socket.ts';
import { type ForwardedConnection, Link } from './link.ts';
import type { FromThread, ThreadAddress, ThreadPair, ThreadStart, ToThread } from './messages.ts';
import { RemoteSocket } from './remote-socket.ts';

/** The TLS server of a thread, provided by the caller. It passes upgrades to {@link GatewayThread.gateway}. */
export interface ThreadListener {
  /** @throws CulvertError `config_invalid` */
  listen(): Promise<ThreadAddress>;
  /** Uses this certificate for new connections. */
  present(pair: ThreadPair): void;
  /** Stops accepting connections. */
  close(): void;
  /** Ends connections that are not part of a stream. */
  destroyConnections(): void;
}

/** A gateway thread, seen from inside: registers clients here, or forwards them to the thread that owns their stream. */
export class GatewayThread {
  readonly gateway: Gateway;

  readonly #start: ThreadStart;
  readonly #port: MessagePort;
  readonly #clock: Clock;
  readonly #blocks = new BlockMemory();
  /** Links to other threads, by thread id, over which clients are forwarded. */
  readonly #links = new Map<number, Link>();
  /** Streams owned here with a side that another thread accepted, by the link to that thread. */
  readonly #forwarded = new Map<Link, Set<string>>();
  readonly #asked = new Map<number, (answer: ToThread & { type: 'owner' | 'refused' }) => void>();
  #requests = 0;
  #listener: ThreadListener | undefined;
  #closing: Promise<void> | undefined;

  /** @param port to the main thread */
  constructor(start: ThreadStart, port: MessagePort, clock: Clock) {
    this.#start = start;
    this.#port = port;
    this.#clock = clock;
    this.gateway = new Gateway({
      ...start,
      clock,
      onEvent: (event) => this.#say({ type: 'event', event }),
      steering: {
        findOwner: (claims) => this.#findOwner(claims),
        unregistered: (streamId) => this.#say({ type: 'unregistered', streamId }),
        counters: (streamId) => {
          const shared = new SharedArrayBuffer(6 * Float64Array.BYTES_PER_ELEMENT);
          this.#say({ type: 'counters', streamId, shared });
          return new Float64Array(shared);
        },
      },
    });
  }

  /** Blocks of shared memory in use. */
  get blocksTaken(): number {
    return this.#blocks.taken;
  }

  /** Opens the listener and executes the main thread's commands. */
  async run(listener: ThreadListener): Promise<void> {
    this.#listener = listener;
    this.#port.on('message', (message: ToThread) => this.#onMessage(message));
    try {
      this.#say({ type: 'listening', address: await listener.listen() });
    } catch (error) {
      const { code, message } = CulvertError.from(error);
      this.#say({ type: 'unusable', error: { code, message } });
    }
  }

  /** A TLS handshake failed. */
  tlsFailed(remoteAddress: string, problem: string): void {
    this.#say({ type: 'tls-failed', remoteAddress, problem });
  }

  #say(message: FromThread, transfer: MessagePort[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #onMessage(message: ToThread): void {
    switch (message.type) {
      case 'owner':
      case 'refused':
        this.#asked.get(message.request)?.(message);
        this.#asked.delete(message.request);
        return;
      case 'link': {
        const link = this.#newLink(message.port, () => this.#lostFrom(link));
        return;
      }
      case 'end':
        this.gateway.end(message.streamId, new CulvertError(message.error.code, message.error.message));
        return;
      case 'present':
        this.#listener?.present(message.pair);
        return;
      case 'close':
        void this.#close(message.graceMs);
        return;
      case 'destroy':
        this.gateway.destroy();
        void this.#close(0);
    }
  }

  async #findOwner(claims: GrantClaims): Promise<((arrival: Arrival) => void) | undefined> {
    const request = this.#requests++;
    const answer = await new Promise<ToThread & { type: 'owner' | 'refused' }>((resolve) => {
      this.#asked.set(request, resolve);
      this.#say({ type: 'find-owner', request, claims });
    });
    if (answer.type === 'refused') throw new CulvertError(answer.error.code, answer.error.message);
    const { owner } = answer;
    if (owner === this.#start.threadId) return undefined;
    return (arrival) => this.#forward(arrival, owner);
  }

  #forward({ socket, head, ...arrival }: Arrival, owner: number): void {
    const link = this.#linkTo(owner);
    const connection = link.newConnection();
    // A copy: a message transfers the whole buffer behind a view.
    link.send(['forward', connection, { ...arrival, head: new Uint8Array(head) }]);
    const { lingerMs = GATEWAY_LIMITS.lingerMs } = this.#start.limits;
    const memory = this.#start.plain ? undefined : BufferPool.ofThread;
    new ForwardedSocket(socket, link, connection, {
      memory,
      readScheduler: this.gateway.readScheduler,
      clock: this.#clock,
      lingerMs,
    });
  }

  #linkTo(owner: number): Link {
    const known = this.#links.get(owner);
    if (known !== undefined) return known;
    const { port1, port2 } = new MessageChannel();
    const link = this.#newLink(port1, () => this.#links.delete(owner));
    this.#links.set(owner, link);
    this.#say({ type: 'link', to: owner, port: port2 }, [port2]);
    return link;
  }

  #newLink(port: MessagePort, onLost: () => void): Link {
    return new Link(
      port,
      this.#blocks,
      (link, connection, arrival) => this.#receive(link, connection, arrival),
      onLost,
    );
  }

  #receive(link: Link, connection: number, { head, ...arrival }: ForwardedConnection): void {
    const socket = new RemoteSocket(link, connection);
    const { streamId } = arrival.claims;
    const streams = this.#forwarded.get(link) ?? new Set();
    this.#forwarded.set(link, streams.add(streamId));
    socket.once('close', () => streams.delete(streamId));
    this.gateway.receive({ ...arrival, socket, head: Buffer.from(head) });
  }

  /** The thread that forwarded clients over this link has died, and their connections with it. */
  #lostFrom(link: Link): void {
    const error = new CulvertError('stream_lost', CLOSE_CAUSES.gateway_failed);
    for (const streamId of this.#forwarded.get(link) ?? []) this.gateway.end(streamId, error, 'gateway_failed');
    this.#forwarded.delete(link);
  }

  async #close(graceMs: number): Promise<void> {
    this.#listener?.close();
    this.#closing ??= this.#finish(graceMs);
    await this.#closing;
  }

  async #finish(graceMs: number): Promise<void> {
    await this.gateway.close(graceMs);
    this.#listener?.destroyConnections();
    // Other threads must learn of the last connections' ends before this thread ends.
    await new Promise((resolve) => setImmediate(resolve));
    this.#say({ type: 'closed' });
  }
}
