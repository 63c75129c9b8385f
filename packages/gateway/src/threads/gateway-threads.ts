import { type KeyObject, randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { CLOSE_CAUSES, CulvertError } from '@culvert/protocol';
import { Backoff, type Clock, type Timer } from '@culvert/stream';
import { newBootId } from '../gateway.ts';
import type { GatewayControl } from '../gateway-control.ts';
import type { GatewayEvent, StreamCounters } from '../gateway-events.ts';
import { GATEWAY_LIMITS, type GatewayLimits } from '../gateway-limits.ts';
import type { FromThread, ThreadAddress, ThreadPair, ThreadStart, ToThread } from './messages.ts';
import { StreamDirectory } from './stream-directory.ts';

/** Bytes of the key that a TLS server encrypts its session tickets with (`ticketKeys` of Node's `tls`). */
const TICKET_KEY_BYTES = 48;

/** Milliseconds a thread must have lived for an immediate replacement: a thread that dies at start is not restarted all the time. */
const HEALTHY_MS = 60_000;

/** Milliseconds before a dead thread is replaced: random up to the first, doubled with each early death, up to the second. */
const RESTART_MS = { minMs: 100, maxMs: 10_000 };

export interface GatewayThreadsOptions {
  readonly threads: number;
  /** The workers' entry file: creates a `GatewayThread` from its `workerData`, a {@link ThreadStart}, and runs it. */
  readonly entry: URL;
  readonly listen: { readonly host: string | undefined; readonly port: number };
  /** Each thread listens on a port of its own, for tests and measurements that choose a connection's thread. Default: all on one. */
  readonly apart?: boolean;
  readonly pair: ThreadPair;
  /** Connections that have not shown a grant, at each thread: of one address, and of all. */
  readonly maxUnauthenticatedPerAddress: number;
  readonly maxUnauthenticated: number;
  /** Networks of the load balancers whose connections begin with a PROXY header; absent: nobody's do. */
  readonly proxiesFrom?: readonly string[] | undefined;
  readonly grantKey: KeyObject;
  readonly clock: Clock;
  /** Told everything that happens here; of one stream in order. Must neither throw nor block. */
  readonly onEvent: (event: GatewayEvent) => void;
  /** A TLS handshake failed. */
  readonly onTlsFailed: (remoteAddress: string, problem: string) => void;
  readonly limits?: Partial<GatewayLimits>;
  readonly plain?: boolean;
}

/** The main thread's view of one thread. */
interface Thread {
  readonly id: number;
  readonly worker: Worker;
  readonly startedAt: number;
  /** It has reported that it closed, or must not be replaced. */
  isDone: boolean;
}

/**
 * A gateway of several threads at a separate address, each with its own listener there. The operating system distributes the connections
 * among them; when the two sides of a stream reach different threads, the second is forwarded to the first one's (docs/adr/0016).
 */
export class GatewayThreads implements GatewayControl {
  readonly bootId = newBootId();

  readonly #options: GatewayThreadsOptions;
  readonly #directory: StreamDirectory;
  readonly #ticketKeys = randomBytes(TICKET_KEY_BYTES);
  /** Threads by index; undefined while one is being replaced. */
  readonly #threads: (Thread | undefined)[];
  readonly #backoffs: readonly Backoff[];
  readonly #restarts = new Set<Timer>();
  readonly #addresses: ThreadAddress[] = [];
  #pair: ThreadPair;
  #ids = 0;
  #draining = false;
  #exited: () => void = () => undefined;

  private constructor(options: GatewayThreadsOptions) {
    this.#options = options;
    this.#pair = options.pair;
    this.#directory = new StreamDirectory(options.clock, { ...GATEWAY_LIMITS, ...options.limits });
    this.#threads = Array.from({ length: options.threads });
    this.#backoffs = this.#threads.map(() => new Backoff(RESTART_MS));
  }

  /** @throws CulvertError `config_invalid` when the address cannot be had; none listens then */
  static async start(options: GatewayThreadsOptions): Promise<GatewayThreads> {
    const gateway = new GatewayThreads(options);
    try {
      // The first thread may choose the port for all.
      gateway.#addresses.push(await gateway.#begin(0));
      const others = Array.from({ length: options.threads - 1 }, (_, index) => gateway.#begin(index + 1));
      gateway.#addresses.push(...(await Promise.all(others)));
    } catch (error) {
      await gateway.#terminate();
      throw error;
    }
    return gateway;
  }

  /** The addresses of the threads: all the same, except in tests. */
  get addresses(): readonly ThreadAddress[] {
    return this.#addresses;
  }

  get waitingConnections(): number {
    return this.#directory.waitingConnections;
  }

  get streams(): number {
    return this.#directory.streams;
  }

  counters(streamId: string): StreamCounters | undefined {
    return this.#directory.counters(streamId);
  }

  end(streamId: string, error: CulvertError): boolean {
    const stream = this.#directory.end(streamId, error);
    if (stream === undefined) return false;
    const { code, message } = error;
    this.#say(stream.owner, { type: 'end', streamId, error: { code, message } });
    return stream.isRegistered;
  }

  /** Uses this certificate for new connections. */
  present(pair: ThreadPair): void {
    this.#pair = pair;
    this.#sayAll({ type: 'present', pair });
  }

  async close(graceMs: number): Promise<void> {
    this.#stopReplacing();
    this.#sayAll({ type: 'close', graceMs });
    await this.#allExited();
    this.#directory.clear();
  }

  destroy(): void {
    this.#stopReplacing();
    this.#sayAll({ type: 'destroy' });
    this.#directory.clear();
  }

  #stopReplacing(): void {
    this.#draining = true;
    for (const timer of this.#restarts) timer.cancel();
    this.#restarts.clear();
  }

  async #allExited(): Promise<void> {
    while (this.#threads.some((thread) => thread !== undefined)) {
      await new Promise<void>((resolve) => {
        this.#exited = resolve;
      });
    }
  }

  async #terminate(): Promise<void> {
    this.#stopReplacing();
    for (const thread of this.#threads) if (thread !== undefined) thread.isDone = true;
    await Promise.all(this.#threads.map((thread) => thread?.worker.terminate()));
    this.#directory.clear();
  }

  /** Starts a thread and waits until it listens. */
  #begin(index: number): Promise<ThreadAddress> {
    const { entry, listen, apart = false, grantKey, limits = {}, plain = false } = this.#options;
    const { maxUnauthenticatedPerAddress, maxUnauthenticated, proxiesFrom } = this.#options;
    const id = this.#ids++;
    const known = this.#addresses[apart ? index : 0];
    const start: ThreadStart = {
      threadId: id,
      bootId: this.bootId,
      grantKey,
      limits,
      plain,
      listener: {
        host: listen.host,
        port: known?.port ?? listen.port,
        reusePort: !apart,
        pair: this.#pair,
        ticketKeys: this.#ticketKeys,
        ...{ maxUnauthenticatedPerAddress, maxUnauthenticated, proxiesFrom },
      },
    };
    const worker = new Worker(entry, { workerData: start, name: `culvert-gateway-${index}` });
    const thread: Thread = { id, worker, startedAt: this.#options.clock.now(), isDone: false };
    this.#threads[index] = thread;
    return new Promise((resolve, reject) => {
      let problem: unknown;
      worker.on('error', (error) => {
        problem = error;
      });
      worker.on('message', (message: FromThread) => {
        if (message.type === 'listening') {
          resolve(message.address);
        } else if (message.type === 'unusable') {
          const error = new CulvertError(message.error.code, message.error.message);
          problem = error;
          void worker.terminate();
          reject(error);
        } else {
          this.#onMessage(thread, message);
        }
      });
      worker.on('exit', () => {
        this.#threads[index] = undefined;
        this.#onExit(index, thread, problem);
        reject(CulvertError.from(problem));
      });
    });
  }

  #onMessage(thread: Thread, message: Exclude<FromThread, { type: 'listening' | 'unusable' }>): void {
    switch (message.type) {
      case 'find-owner':
        this.#findOwner(thread, message.request, message.claims);
        return;
      case 'unregistered':
        this.#directory.unregistered(message.streamId);
        return;
      case 'counters':
        this.#directory.count(message.streamId, new Float64Array(message.shared));
        return;
      case 'event':
        this.#directory.observe(message.event);
        this.#options.onEvent(message.event);
        return;
      case 'link': {
        const { to, port } = message;
        const target = this.#threads.find((other) => other?.id === to);
        // A thread that forwards to it then learns that it is gone.
        if (target === undefined) port.close();
        else target.worker.postMessage({ type: 'link', port } satisfies ToThread, [port]);
        return;
      }
      case 'tls-failed':
        this.#options.onTlsFailed(message.remoteAddress, message.problem);
        return;
      case 'closed':
        thread.isDone = true;
        void thread.worker.terminate();
    }
  }

  #findOwner(thread: Thread, request: number, claims: Parameters<StreamDirectory['assignOwner']>[0]): void {
    let answer: ToThread;
    try {
      if (this.#draining) throw new CulvertError('draining');
      answer = { type: 'owner', request, owner: this.#directory.assignOwner(claims, thread.id) };
    } catch (error) {
      const { code, message } = CulvertError.from(error);
      answer = { type: 'refused', request, error: { code, message } };
    }
    thread.worker.postMessage(answer);
  }

  #onExit(index: number, thread: Thread, problem: unknown): void {
    const lost = this.#directory.lost(thread.id);
    for (const { streamId, isRegistered, isEstablished, ageMs, ...counters } of lost) {
      if (!isRegistered) continue;
      this.#options.onEvent({
        type: 'stream-closed',
        streamId,
        cause: 'gateway_failed',
        error: 'stream_lost',
        detail: CLOSE_CAUSES.gateway_failed,
        established: isEstablished,
        durationMs: ageMs,
        ...counters,
      });
    }
    if (!thread.isDone && this.#addresses[index] !== undefined) {
      const said = { thread: index, streams: lost.length, problem: problemOf(problem) };
      this.#options.onEvent({ type: 'gateway-thread-failed', ...said });
      if (!this.#draining) this.#replace(index, this.#options.clock.now() - thread.startedAt);
    }
    if (this.#draining && this.#threads.every((other) => other === undefined)) this.#directory.clear();
    this.#exited();
  }

  #replace(index: number, livedMs: number): void {
    const backoff = this.#backoffs[index];
    if (backoff === undefined) return;
    if (livedMs >= HEALTHY_MS) backoff.reset();
    const timer = this.#options.clock.setTimer(backoff.next(), () => {
      this.#restarts.delete(timer);
      this.#begin(index).then(
        () => this.#options.onEvent({ type: 'gateway-thread-replaced', thread: index }),
        // Its 'exit' event starts the next attempt.
        () => undefined,
      );
    });
    this.#restarts.add(timer);
  }

  #say(id: number, message: ToThread): void {
    this.#threads.find((thread) => thread?.id === id)?.worker.postMessage(message);
  }

  #sayAll(message: ToThread): void {
    for (const thread of this.#threads) thread?.worker.postMessage(message);
  }
}

/** Name, code and origin of an error, without its message, which may quote a secret. */
function problemOf(error: unknown): string {
  if (error instanceof CulvertError) return error.message;
  if (!(error instanceof Error)) return 'It ended without an error.';
  const code = 'code' in error ? ` ${String(error.code)}` : '';
  const frames = (error.stack ?? '').match(/^\s+at .+$/gm) ?? [];
  return [`${error.name}${code}`, ...frames.map((frame) => frame.trim())].join(' ');
}
