import { CulvertError } from '@culvert/protocol';

/** Number of consecutive empty messages within {@link WINDOW_MS} that counts as an end: only a loop that reads the end of its input repeatedly sends so many. */
export const EMPTY_MESSAGES = 64;

/** Milliseconds. */
const WINDOW_MS = 1_000;

/**
 * Detects a client whose direction has ended without a close frame. The proxies of Azure's C# SDK for device streams (preview) never close: when their local
 * program has, they send empty messages as fast as they can, forever.
 */
export class EmptyMessages {
  /** When each of the last ones came; the place to write next is {@link #next}. */
  readonly #times = new Float64Array(EMPTY_MESSAGES);
  #next = 0;
  #count = 0;
  #receivedBytes = 0;

  /**
   * Counts an empty message.
   * @param receivedBytes total payload bytes received; a change since the last call restarts the count
   * @returns whether it is the last of {@link EMPTY_MESSAGES} in a row within a second
   */
  add(now: number, receivedBytes: number): boolean {
    if (receivedBytes !== this.#receivedBytes) this.#count = 0;
    this.#receivedBytes = receivedBytes;
    this.#times[this.#next] = now;
    this.#next = (this.#next + 1) % EMPTY_MESSAGES;
    this.#count++;
    // The place to be written next has the oldest.
    return this.#count >= EMPTY_MESSAGES && now - (this.#times[this.#next] ?? 0) <= WINDOW_MS;
  }
}

/** Milliseconds between two reads of a client whose direction has ended by empty messages: it sends on, and only its going is of interest. */
export const DRAIN_INTERVAL_MS = 250;

/** The offence of such a client that sends data after all. */
export function dataAfterEnd(): CulvertError {
  const text = `The client sent data after ${EMPTY_MESSAGES} empty messages in a row, which end its direction.`;
  return new CulvertError('protocol_error', text);
}
