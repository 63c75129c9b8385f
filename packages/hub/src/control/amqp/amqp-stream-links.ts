import { CHANNEL_CORRELATION } from '@culvert/protocol';
import type { Receiver, Sender } from 'rhea';
import { linkProperty } from './link-properties.ts';

/**
 * The streams links of one identity. Two make a pair: one on which the device receives, one on which it sends, that name the same channel
 * correlation id, or of which one names none. Several pairs may stand for a moment, when a device attaches again before it detaches; the
 * newest counts.
 */
export class StreamLinks {
  readonly #correlations = new Map<Sender | Receiver, string | undefined>();

  add(link: Sender | Receiver): void {
    this.#correlations.set(link, linkProperty(link, CHANNEL_CORRELATION));
  }

  remove(link: Sender | Receiver): void {
    this.#correlations.delete(link);
  }

  /** The link on which to ask the device; undefined while no pair is complete. */
  get sender(): Sender | undefined {
    const links = [...this.#correlations].reverse();
    for (const [link, correlation] of links) {
      if (!link.is_sender()) continue;
      const isPaired = links.some(
        ([other, its]) =>
          other.is_receiver() && (its === correlation || its === undefined || correlation === undefined),
      );
      if (isPaired) return link as Sender;
    }
    return undefined;
  }
}
