/**
 * Total bytes read from busy connections per event-loop iteration. To decrypt, copy and encrypt them takes about 0.15 ms, during which all other
 * work waits.
 */
export const ITERATION_BYTES = 131_072;

/** Bytes read from one busy connection per iteration: libuv reads this many at once, so the quota cannot be smaller. */
export const QUOTA_BYTES = 65_536;

const QUOTAS = ITERATION_BYTES / QUOTA_BYTES;

/** Bytes below which the end of an iteration is not scheduled, because that would cost a callback for each small frame. */
const UNCOUNTED_BYTES = 16_384;

/** One connection, as {@link ReadScheduler} uses it. */
export interface ScheduledReader {
  /** The iteration in which {@link readBytes} were read. */
  iteration: number;
  readBytes: number;
  /** Whether the connection is queued and must not be read until {@link start}. */
  waits: boolean;
  stop(): void;
  start(): void;
}

/**
 * A fair read scheduler: any number of busy connections delays the others no more than two would. At most 128 KiB per event-loop iteration are read
 * from busy connections: two quotas of 64 KiB. A connection that has used its quota is queued, and so is one that resumes after a pause when no
 * quota is free. Each iteration takes as many connections from the queue as there are quotas. A connection with little data is never queued for
 * its reads, and neither is a single busy one.
 */
export class ReadScheduler {
  /** The queue, oldest first: each connection at most once. */
  readonly #queue: ScheduledReader[] = [];
  #iteration = 0;
  /** Bytes read from all connections in this iteration. */
  #readBytes = 0;
  /** Quotas assigned to connections that were started in this iteration. */
  #assigned = 0;
  #end: NodeJS.Immediate | undefined;

  /** The number of queued connections. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Counts a read. Stops and queues the connection when its quota is used. */
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

  /** Resumes a connection that its owner had paused: at once if a quota is free, otherwise later from the queue. */
  ask(reader: ScheduledReader): void {
    if (reader.waits) return;
    if (this.#assigned >= QUOTAS) {
      this.#wait(reader);
      return;
    }
    this.#assigned++;
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
    this.#assigned = next.length;
    this.#end = this.#assigned > 0 ? setImmediate(this.#onEnd) : undefined;
    for (const reader of next) {
      reader.waits = false;
      reader.start();
    }
  };
}
