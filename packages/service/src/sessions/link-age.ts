import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '@culvert/stream';

/** Milliseconds that one TLS connection carries a session: its keys are made anew with the next. */
export const MAX_LINK_AGE_MS = 86_400_000;

/** Bytes, both ways, for the same reason: RFC 8446 §5.5 allows an AES-GCM key about 360 GiB. */
export const MAX_LINK_BYTES = 68_719_476_736;

/** Milliseconds between two looks at the bytes. Even 4 GB/s stay within what the key allows meanwhile. */
const LOOK_MS = 60_000;

/** What is counted; a TLS connection has both. */
export type CountedDuplex = Duplex & { readonly bytesRead: number; readonly bytesWritten: number };

/** Calls `replace` once, when an encrypted link has reached its age or its bytes. Ends with the link. */
export function watchLinkAge(link: CountedDuplex, clock: Clock, replace: () => void): void {
  let timer: Timer | undefined;
  let looks = 0;
  const look = (): void => {
    looks++;
    const isOld = looks * LOOK_MS >= MAX_LINK_AGE_MS || link.bytesRead + link.bytesWritten >= MAX_LINK_BYTES;
    timer = isOld ? undefined : clock.setTimer(LOOK_MS, look);
    if (isOld) replace();
  };
  if (link.destroyed) return;
  timer = clock.setTimer(LOOK_MS, look);
  link.once('close', () => timer?.cancel());
}
