import type { SessionConnection } from './connection.ts';
import { HEADER_BYTES, MAX_PAYLOAD_BYTES } from './frame.ts';
import { FAST_BYTES_PER_MS } from './in-flight.ts';

/**
 * Payload bytes of DATA while an interactive connection is active, and on links below {@link FAST_BYTES_PER_MS} while several connections send: none
 * should wait for long frames of others.
 */
const SHARED_DATA_BYTES = 16_384;
/** Payload bytes of DATA on links below {@link SLOW_BYTES_PER_MS} (1 Mbit/s), where a frame of 16 KiB holds up the others for longer than a person waits. */
const SLOW_DATA_BYTES = 4_096;
const SLOW_BYTES_PER_MS = 125;
/** Milliseconds for which a session counts as interactive after an interactive connection has sent. */
const INTERACTIVE_MS = 1_000;
/** Bytes of interactive connections that may be sent beyond the limit on bytes in flight: they would wait for an acknowledgement otherwise. */
const INTERACTIVE_EXTRA_BYTES = 16_384;
/** A shorter DATA frame is sent only if nothing more is queued. */
const LEAST_DATA_BYTES = 4_096;
/** The queues are searched for connections that are over only when there are at least this many. */
const LEAST_DEAD = 64;

/** Where the queues' data is written. */
export interface DataSink {
  /** Bytes of DATA frames that may be written now, with `limit` bytes unacknowledged. */
  room(limit: number): number;
  /** Bytes that may be unacknowledged. */
  inFlightLimit(hasInteractive: boolean): number;
  /** Bytes per millisecond that the link delivers; 0 if unknown. */
  readonly rate: number;
  /** Number of the message that is being filled, which grows. */
  readonly message: number;
  /** Whether bytes are on their way to the link, so that another message will be filled when they are passed on. */
  readonly isBusy: boolean;
  writeData(connection: SessionConnection, bytes: number): void;
}

/** The connections of a session that have data within their limit: those with little first, then the others in turn. */
export class DataQueues {
  #interactive: SessionConnection[] = [];
  #bulk: SessionConnection[] = [];
  #interactiveUntil = Number.NEGATIVE_INFINITY;
  #isFilling = false;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Connections in the queues, some of which may be over. */
  get length(): number {
    return this.#interactive.length + this.#bulk.length;
  }

  /** @param open how many connections are open: queues much longer than that are searched for those that are over */
  add(connection: SessionConnection, open: number): void {
    if (connection.isQueued) return;
    connection.isQueued = true;
    const now = this.#now();
    if (connection.isInteractive(now)) {
      this.#interactive.push(connection);
      this.#interactiveUntil = now + INTERACTIVE_MS;
    } else this.#bulk.push(connection);
    if (this.length > 2 * open + LEAST_DEAD) this.#dropDead();
  }

  clear(): void {
    this.#interactive = [];
    this.#bulk = [];
  }

  /**
   * Writes what there is room for.
   * @param emptied called with each connection that has nothing more to send
   */
  write(sink: DataSink, emptied: (connection: SessionConnection) => void): void {
    const { rate } = sink;
    const hasInteractive = this.#now() < this.#interactiveUntil;
    const limit = sink.inFlightLimit(hasInteractive);
    const isSlow = rate > 0 && rate < SLOW_BYTES_PER_MS;
    const shared = isSlow ? SLOW_DATA_BYTES : SHARED_DATA_BYTES;
    this.#isFilling = true;
    this.#writeQueue(this.#interactive, sink, limit + INTERACTIVE_EXTRA_BYTES, shared, emptied);
    const isShared = hasInteractive || isSlow || (this.#bulk.length > 1 && rate < FAST_BYTES_PER_MS);
    this.#writeQueue(this.#bulk, sink, limit, isShared ? shared : MAX_PAYLOAD_BYTES, emptied);
    this.#isFilling = false;
  }

  /** One frame of each connection in turn, until there is no room or nothing more to send. */
  #writeQueue(
    queue: SessionConnection[],
    sink: DataSink,
    limit: number,
    maxBytes: number,
    emptied: (connection: SessionConnection) => void,
  ): void {
    let index = 0;
    let tails: SessionConnection[] | undefined;
    for (; index < queue.length; index++) {
      const connection = queue[index] as SessionConnection;
      const available = connection.isOver ? 0 : connection.sendable;
      if (available > 0) {
        if (isTail(connection, available, sink)) {
          tails ??= [];
          tails.push(connection);
          continue;
        }
        const wanted = Math.min(available, maxBytes);
        const bytes = Math.min(wanted, sink.room(limit) - HEADER_BYTES);
        // A frame shorter than what could be sent costs more than it gains, except at the very end.
        if (bytes < Math.min(wanted, LEAST_DATA_BYTES)) break;
        if (bytes < available) connection.filledMessage = sink.message;
        sink.writeData(connection, bytes);
      }
      if (!connection.isOver && connection.sendable > 0) {
        // One that has begun to send much waits for its turn among the others that do.
        const stays = queue === this.#bulk || connection.isInteractive(this.#now());
        (stays ? queue : this.#bulk).push(connection);
      } else {
        connection.isQueued = false;
        emptied(connection);
      }
    }
    queue.splice(0, index);
    if (tails !== undefined) queue.push(...tails);
  }

  /** Connections that are over leave the queues when their turn comes. Without a link, or with a full ring, it does not come. */
  #dropDead(): void {
    if (this.#isFilling) return;
    this.#interactive = this.#interactive.filter(({ isOver }) => !isOver);
    this.#bulk = this.#bulk.filter(({ isOver }) => !isOver);
  }
}

/**
 * Sockets are read in pieces of 65,536 bytes, which leave a few when a message has been filled. They wait until it was passed on, since by then more has
 * come: a frame of 8 bytes costs as much as a full one.
 */
function isTail(connection: SessionConnection, available: number, sink: DataSink): boolean {
  const isFilled = connection.filledMessage === sink.message;
  return available < LEAST_DATA_BYTES && !connection.hasEnded && isFilled && sink.isBusy;
}
