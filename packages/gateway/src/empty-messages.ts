import { CulvertError } from '@culvert/protocol';

/**
 * Number of consecutive empty messages within {@link WINDOW_MS} that counts as an end: only a loop that repeatedly reads the end of its input
 * sends that many.
 */
export const EMPTY_MESSAGES = 64;

/** Milliseconds within which {@link EMPTY_MESSAGES} consecutive empty messages count as an end. */
const WINDOW_MS = 1_000;

/**
 * Detects that a client has ended its direction without a close frame. The proxies of Azure's C# SDK for device streams (preview) never send one: after
 * their local program has closed its connection, they send empty messages without end, as fast as possible.
 */
export class EmptyMessages {
  /** The times of the last {@link EMPTY_MESSAGES} empty messages; {@link #next} is the index to be written next. */
  readonly #times = new Float64Array(EMPTY_MESSAGES);
  #next = 0;
  #count = 0;
  #receivedBytes = 0;

  /**
   * Counts an empty message.
   * @param receivedBytes total payload bytes received; a change since the last call restarts the count
   * @returns whether it completes {@link EMPTY_MESSAGES} consecutive empty messages within a second
   */
  add(now: number, receivedBytes: number): boolean {
    if (receivedBytes !== this.#receivedBytes) this.#count = 0;
    this.#receivedBytes = receivedBytes;
    this.#times[this.#next] = now;
    this.#next = (this.#next + 1) % EMPTY_MESSAGES;
    this.#count++;
    // The index to be written next contains the oldest time.
    return this.#count >= EMPTY_MESSAGES && now - (this.#times[this.#next] ?? 0) <= WINDOW_MS;
  }
}

/** Milliseconds between two reads from a client that ended its direction by empty messages. It continues to send them, and reads only detect its disconnect. */
export const DRAIN_INTERVAL_MS = 250;

/** The error for a client that sends data after it ended its direction by empty messages. */
export function dataAfterEnd(): CulvertError {
  const text = `The client sent data after ${EMPTY_MESSAGES} empty messages in a row, which end its direction.`;
  return new CulvertError('protocol_error', text);
}
