import { Worker } from 'node:worker_threads';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { FromStore, StoreCall, StoreCalls, StoreResult, StoreStart, ToStore } from './store-calls.ts';

/** Maximum queued calls: the calls of one second, at 10,000 per second. Further calls fail with `too_many_requests`. */
export const MAX_WAITING_CALLS = 10_000;

/** Maximum calls in one batch, to limit the size of a transaction and of a message between the threads. */
const MAX_BATCH = 1_000;

/** Milliseconds that `close()` waits for the queued calls before it terminates the thread. No acknowledged write is lost: those are on disk. */
const CLOSE_MS = 10_000;

interface PendingCall {
  readonly call: StoreCall;
  settle(result: StoreResult): void;
}

/** The worker's file in this directory, as TypeScript source or as built JavaScript. */
const WORKER_FILE = new URL(
  import.meta.url.endsWith('.ts') ? './store-worker.ts' : './store-worker.js',
  import.meta.url,
);

/** Sends calls to the store's worker thread. Calls wait in a bounded queue; one batch is sent at a time. */
export class StoreThread {
  /** Resolves if the thread ends unexpectedly; all later calls fail. Never rejects. */
  readonly failed: Promise<CulvertError>;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #exited: Promise<void>;
  #queue: PendingCall[] = [];
  #sent: readonly PendingCall[] = [];
  #sending: NodeJS.Immediate | undefined;
  /** The error for new calls, once the thread has failed or `close()` was called. */
  #refusal: CulvertError | undefined;
  #closed: Promise<void> | undefined;

  private constructor(worker: Worker, clock: Clock) {
    this.#worker = worker;
    this.#clock = clock;
    let exited = (): void => {};
    this.#exited = new Promise((resolve) => {
      exited = resolve;
    });
    this.failed = new Promise((resolve) => {
      const died = (error: unknown): void => {
        if (this.#closed === undefined && this.#refusal === undefined) resolve(this.#fail(error));
      };
      worker.on('message', (message: FromStore) => {
        if ('results' in message) this.#received(message.results);
      });
      worker.on('error', died);
      worker.on('messageerror', died);
      worker.on('exit', (code) => {
        died(new Error(`the thread ended with code ${code}`));
        exited();
      });
    });
  }

  /**
   * Starts the thread and waits until the database is open.
   * @param file the worker's file; tests use another one
   * @throws CulvertError `config_invalid` if the database cannot be used
   */
  static async start(start: StoreStart, clock: Clock, file: URL = WORKER_FILE): Promise<StoreThread> {
    const worker = new Worker(file, { workerData: start, name: 'culvert-store' });
    const thread = new StoreThread(worker, clock);
    const opened = await Promise.race([firstMessage(worker), thread.failed]);
    if (opened instanceof CulvertError) throw opened;
    if (!opened.ok) {
      thread.#closed = thread.#exited;
      await thread.#exited;
      throw new CulvertError(opened.code, opened.message);
    }
    return thread;
  }

  /** @throws CulvertError the error of the call; `too_many_requests` if the queue is full; `draining` after `close()`; `internal` if the thread failed */
  call<C extends StoreCall>(call: C): Promise<StoreCalls[C['name']]['output']> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    if (this.#queue.length + this.#sent.length >= MAX_WAITING_CALLS)
      return Promise.reject(new CulvertError('too_many_requests', 'Too many requests are waiting for the registry.'));
    return new Promise((resolve, reject) => {
      const settle = (result: StoreResult): void => {
        if (result.ok) resolve(result.value as StoreCalls[C['name']]['output']);
        else reject(new CulvertError(result.code, result.message));
      };
      this.#queue.push({ call, settle });
      // The batch is sent at the end of the event-loop iteration, so that all calls of the iteration share one commit.
      if (this.#sent.length === 0) this.#sending ??= setImmediate(() => this.#send());
    });
  }

  /** Refuses further calls, waits for the queued ones and closes the database. Idempotent. */
  close(): Promise<void> {
    this.#refusal ??= new CulvertError('draining');
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    const timer = this.#clock.setTimer(CLOSE_MS, () => void this.#worker.terminate());
    if (this.#queue.length + this.#sent.length === 0) this.#post({ close: true });
    await this.#exited;
    timer.cancel();
    this.#settleAll({ ok: false, code: 'draining', message: 'The hub stopped before the registry could answer.' });
  }

  #send(): void {
    this.#sending = undefined;
    this.#sent = this.#queue.splice(0, MAX_BATCH);
    if (this.#sent.length > 0) this.#post({ batch: this.#sent.map(({ call }) => call) });
    else if (this.#closed !== undefined) this.#post({ close: true });
  }

  #post(message: ToStore): void {
    this.#worker.postMessage(message);
  }

  #received(results: readonly StoreResult[]): void {
    const answered = this.#sent;
    this.#sent = [];
    for (const [index, { settle }] of answered.entries()) {
      settle(results[index] ?? { ok: false, code: 'internal', message: 'The registry returned no result.' });
    }
    this.#send();
  }

  #fail(error: unknown): CulvertError {
    const why = error instanceof Error ? error.message : String(error);
    const failure = new CulvertError('internal', `The registry's thread failed: ${why}.`, { cause: error });
    this.#refusal = failure;
    this.#settleAll({ ok: false, code: failure.code, message: failure.message });
    return failure;
  }

  #settleAll(result: StoreResult): void {
    clearImmediate(this.#sending);
    const left = [...this.#sent, ...this.#queue];
    this.#sent = [];
    this.#queue = [];
    for (const { settle } of left) settle(result);
  }
}

function firstMessage(worker: Worker): Promise<StoreResult> {
  return new Promise((resolve) => {
    worker.once('message', (message: FromStore) => {
      if ('opened' in message) resolve(message.opened);
    });
  });
}
