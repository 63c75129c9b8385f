import { CHANNEL_CORRELATION } from '@culvert/protocol';
import type { Receiver, Sender } from 'rhea';
import { linkProperty } from './link-properties.ts';

/**
 * The streams links of one identity. A pair is a link on which the device receives and a link on which it sends, which name the same channel
 * correlation id or of which at least one names none. For a moment there may be several pairs, when a device attaches new links before it
 * detaches the old ones; the newest pair is used.
 */
export class StreamLinks {
  readonly #correlations = new Map<Sender | Receiver, string | undefined>();

  add(link: Sender | Receiver): void {
    this.#correlations.set(link, linkProperty(link, CHANNEL_CORRELATION));
  }

  remove(link: Sender | Receiver): void {
    this.#correlations.delete(link);
  }

  /** The link on which to send offers to the device; undefined while there is no complete pair. */
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
