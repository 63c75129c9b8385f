import { Worker } from 'node:worker_threads';
import { CulvertError, ERRORS } from '@culvert/protocol';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';
import type { FromLogThread, LogRow, LogThreadStart, ToLogThread } from './log-calls.ts';
import type { LogPage, LogQuery } from './log-query.ts';

/** Maximum waiting queries: most take milliseconds, a search through the whole log about a second. */
const MAX_WAITING_QUERIES = 64;

/** The worker's file in this folder: TypeScript source or built JavaScript. */
const WORKER_FILE = new URL(import.meta.url.endsWith('.ts') ? './log-worker.ts' : './log-worker.js', import.meta.url);

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/**
 * Sends calls to the log's worker thread. The first call starts the thread. If the thread dies, the next call starts it again, so that no failure
 * of the log's disk keeps a hub from starting or from running.
 */
export class LogThread implements LogTarget {
  readonly #start: LogThreadStart;
  readonly #now: () => number;
  readonly #file: URL;
  #worker: Worker | undefined;
  #append: Waiting<number> | undefined;
  readonly #queries = new Map<number, Waiting<LogPage>>();
  #ticket = 0;

  /** @param file file of the worker; tests pass another one */
  constructor(start: LogThreadStart, now: () => number, file: URL = WORKER_FILE) {
    this.#start = start;
    this.#now = now;
    this.#file = file;
  }

  /** Resolves when the batch is committed. One batch at a time. */
  deliver(batch: readonly LogRecord[]): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#append = { resolve, reject };
      this.#post({ append: batch.map(row), now: this.#now() });
    });
  }

  /** @throws CulvertError `too_many_requests`; `internal` when a part cannot be read; the message names the part */
  query(query: LogQuery): Promise<LogPage> {
    if (this.#queries.size >= MAX_WAITING_QUERIES) {
      return Promise.reject(new CulvertError('too_many_requests', 'Too many queries wait for the log.'));
    }
    return new Promise((resolve, reject) => {
      const ticket = ++this.#ticket;
      this.#queries.set(ticket, { resolve, reject });
      this.#post({ query, ticket });
    });
  }

  /** Deletes parts past retention; otherwise only new records trigger that. */
  tidy(): void {
    this.#post({ tidy: this.#now() });
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    this.#post({ close: true });
    // A thread that hangs must not keep the process alive.
    worker.unref();
    await exited;
  }

  #post(message: ToLogThread): void {
    this.#worker ??= this.#open();
    this.#worker.postMessage(message);
  }

  #open(): Worker {
    const worker = new Worker(this.#file, { workerData: this.#start, name: 'culvert-log' });
    const died = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#fail(new CulvertError('internal', `The log's thread ended: ${why}.`));
    };
    worker.on('message', (message: FromLogThread) => this.#received(message));
    worker.on('error', (error: Error) => died(error.message));
    worker.on('exit', (code) => died(`code ${code}`));
    return worker;
  }

  #received(message: FromLogThread): void {
    if ('ticket' in message) {
      const waiting = this.#queries.get(message.ticket);
      this.#queries.delete(message.ticket);
      if ('page' in message) waiting?.resolve(message.page);
      else waiting?.reject(new CulvertError('internal', `The log cannot be read: ${message.problem}.`));
      return;
    }
    const append = this.#append;
    this.#append = undefined;
    if ('appended' in message) append?.resolve(0);
    else append?.reject(new CulvertError('internal', `The log cannot be written: ${message.failed}.`));
  }

  #fail(error: CulvertError): void {
    const waiting = [...this.#queries.values(), ...(this.#append === undefined ? [] : [this.#append])];
    this.#queries.clear();
    this.#append = undefined;
    for (const { reject } of waiting) reject(error);
  }
}

function row(record: LogRecord): LogRow {
  const { time, sequence, category, operation, deviceId, moduleId, streamId, error, json } = record;
  const result = error === undefined ? '' : String(ERRORS[error].azure[0]);
  return [
    time,
    sequence,
    category,
    operation,
    deviceId ?? null,
    moduleId ?? null,
    streamId ?? null,
    result,
    error ?? '',
    json,
  ];
}
