/**
 * Total bytes read from busy connections per event-loop iteration. Decrypting, moving and encrypting them takes about 0.15 ms,
 * during which everything else waits.
 */
export const ITERATION_BYTES = 131_072;

/** Bytes read from one of them per iteration: libuv reads this much at once, so it cannot be less. */
export const QUOTA_BYTES = 65_536;

const QUOTAS = ITERATION_BYTES / QUOTA_BYTES;

/** Bytes below which the end of the iteration is not checked; otherwise a gateway of small frames would check for each of them. */
const UNCOUNTED_BYTES = 16_384;

/** One connection, as {@link ReadScheduler} counts it. */
export interface ScheduledReader {
  /** The iteration that {@link readBytes} belong to. */
  iteration: number;
  readBytes: number;
  /** Whether it is queued: it is not read until {@link start}. */
  waits: boolean;
  stop(): void;
  start(): void;
}

/**
 * Fair read scheduler: many busy connections delay the others no more than two do. At most 128 KiB per event-loop iteration are read from
 * busy connections, 64 KiB each; a connection that has used its quota is queued, as is one that resumes after a pause, and each iteration takes
 * as many from the queue as there are quotas. Connections that read little are never queued, nor is a single busy one.
 */
export class ReadScheduler {
  /** The queue, oldest first: each connection at most once. */
  readonly #queue: ScheduledReader[] = [];
  #iteration = 0;
  /** Bytes read by all in this iteration. */
  #readBytes = 0;
  /** Quotas assigned for the next iteration. */
  #given = 0;
  #end: NodeJS.Immediate | undefined;

  /** Queued connections. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Counts a read; stops the connection when its quota is used up. */
  note(reader: ScheduledReader, length: number): void {
    this.#readBytes += length;
    if (this.#readBytes >= UNCOUNTED_BYTES) this.#end ??= setImmediate(this.#onEnd);
    if (reader.iteration !== this.#iteration) {
      reader.iteration = this.#iteration;
      reader.readBytes = 0;
    }
    reader.readBytes += length;
    if (reader.readBytes < QUOTA_BYTES || reader.waits) return;
    if (this.#readBytes < ITERATION_BYTES && this.#queue.length === 0) return;
    reader.stop();
    this.#wait(reader);
  }

  /** Resumes a connection that its owner had paused: now, or when a quota is free. */
  ask(reader: ScheduledReader): void {
    if (reader.waits) return;
    if (this.#given >= QUOTAS) {
      this.#wait(reader);
      return;
    }
    this.#given++;
    this.#end ??= setImmediate(this.#onEnd);
    reader.start();
  }

  #wait(reader: ScheduledReader): void {
    reader.waits = true;
    this.#queue.push(reader);
    this.#end ??= setImmediate(this.#onEnd);
  }

  readonly #onEnd = (): void => {
    this.#iteration++;
    this.#readBytes = 0;
    const next = this.#queue.splice(0, QUOTAS);
    this.#given = next.length;
    this.#end = this.#given > 0 ? setImmediate(this.#onEnd) : undefined;
    for (const reader of next) {
      reader.waits = false;
      reader.start();
    }
  };
}
