import { type Announcement, MAX_ANNOUNCEMENT_BYTES, parseAnnouncement } from '@culvert/protocol';

/**
 * The newest announcement of a device on one channel. It is read only when the hub needs it, so a device that announces at any rate costs no more than
 * one that publishes to any other topic, and the last one always counts.
 */
export class LatestAnnouncement {
  #unread: string | undefined;
  #read: Announcement | undefined;

  /** Replaces the former announcement wholly. Undefined or malformed text: the device announces nothing. */
  replace(text: string | undefined): void {
    // Too long to be read; not kept either.
    this.#unread = text !== undefined && text.length > MAX_ANNOUNCEMENT_BYTES ? undefined : text;
    this.#read = undefined;
  }

  /** Undefined when the device has announced nothing, or what it announced is malformed. */
  get current(): Announcement | undefined {
    if (this.#unread !== undefined) {
      this.#read = parseAnnouncement(this.#unread);
      this.#unread = undefined;
    }
    return this.#read;
  }
}
