import { CHANNEL_CORRELATION, CLIENT_VERSION, LIMITS, printable } from '@culvert/protocol';
import type { Receiver, Sender } from 'rhea';

/**
 * The streams links of one identity. Two make a pair: one on which the device receives, one on which it sends, that name the same channel
 * correlation id, or of which one names none. Several pairs may stand for a moment, when a device attaches again before it detaches; the
 * newest counts.
 */
export class StreamLinks {
  readonly #correlations = new Map<Sender | Receiver, string | undefined>();
  #clientVersion: string | undefined;

  /** What software the device last said it is. */
  get clientVersion(): string | undefined {
    return this.#clientVersion;
  }

  add(link: Sender | Receiver): void {
    const { properties } = link;
    const said = (name: string): string | undefined => {
      const value: unknown = typeof properties === 'object' && properties !== null ? properties[name] : undefined;
      return typeof value === 'string' ? value : undefined;
    };
    this.#correlations.set(link, said(CHANNEL_CORRELATION));
    const clientVersion = said(CLIENT_VERSION);
    if (clientVersion !== undefined) this.#clientVersion = printable(clientVersion, LIMITS.clientVersionCharacters);
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
