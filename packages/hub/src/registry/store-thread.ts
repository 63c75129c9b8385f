import { Worker } from 'node:worker_threads';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { FromStore, StoreCall, StoreCalls, StoreResult, StoreStart, ToStore } from './store-calls.ts';

/** Maximum queued calls: one second's worth at 10,000 a second; beyond that callers are told to retry. */
export const MAX_WAITING_CALLS = 10_000;

/** Maximum calls in one batch, so that transactions and messages between the threads stay small. */
const MAX_BATCH = 1_000;

/** Milliseconds the store may take to finish its last batch before its thread is ended: every acknowledged write is on disk anyway. */
const CLOSE_MS = 10_000;

interface Waiting {
  readonly call: StoreCall;
  settle(result: StoreResult): void;
}

/** The worker's file beside this one, as source or as built. */
const WORKER_FILE = new URL(
  import.meta.url.endsWith('.ts') ? './store-worker.ts' : './store-worker.js',
  import.meta.url,
);

/** The hub's handle of the store's worker thread: calls wait in a bounded queue, one batch is under way at a time. */
export class StoreThread {
  /** Resolves if the thread dies unexpectedly; every later call is refused. Never rejects. */
  readonly failed: Promise<CulvertError>;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #exited: Promise<void>;
  #queue: Waiting[] = [];
  #underWay: readonly Waiting[] = [];
  #sending: NodeJS.Immediate | undefined;
  /** The error for calls after the end. */
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
   * @param file for tests: another worker
   * @throws CulvertError `config_invalid` when the database cannot be used
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

  /** @throws CulvertError what the call itself throws; `too_many_requests`, `draining` after `close()`, `internal` */
  call<C extends StoreCall>(call: C): Promise<StoreCalls[C['name']]['output']> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    if (this.#queue.length + this.#underWay.length >= MAX_WAITING_CALLS)
      return Promise.reject(new CulvertError('too_many_requests', 'Too many requests wait for the registry.'));
    return new Promise((resolve, reject) => {
      const settle = (result: StoreResult): void => {
        if (result.ok) resolve(result.value as StoreCalls[C['name']]['output']);
        else reject(new CulvertError(result.code, result.message));
      };
      this.#queue.push({ call, settle });
      // All calls of one event-loop iteration share a batch, and so a commit.
      if (this.#underWay.length === 0) this.#sending ??= setImmediate(() => this.#send());
    });
  }

  /** Refuses further calls, finishes queued ones, closes the database. Idempotent. */
  close(): Promise<void> {
    this.#refusal ??= new CulvertError('draining');
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    const timer = this.#clock.setTimer(CLOSE_MS, () => void this.#worker.terminate());
    if (this.#queue.length + this.#underWay.length === 0) this.#post({ close: true });
    await this.#exited;
    timer.cancel();
    this.#settleAll({ ok: false, code: 'draining', message: 'The hub stopped before the registry could answer.' });
  }

  #send(): void {
    this.#sending = undefined;
    this.#underWay = this.#queue.splice(0, MAX_BATCH);
    if (this.#underWay.length > 0) this.#post({ batch: this.#underWay.map(({ call }) => call) });
    else if (this.#closed !== undefined) this.#post({ close: true });
  }

  #post(message: ToStore): void {
    this.#worker.postMessage(message);
  }

  #received(results: readonly StoreResult[]): void {
    const answered = this.#underWay;
    this.#underWay = [];
    for (const [index, { settle }] of answered.entries()) {
      settle(results[index] ?? { ok: false, code: 'internal', message: 'The registry gave no answer.' });
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
    const left = [...this.#underWay, ...this.#queue];
    this.#underWay = [];
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
