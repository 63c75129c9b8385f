import type { Duplex } from 'node:stream';
import { LIMITS } from '@culvert/protocol';
import { inBackground, systemClock } from '@culvert/stream';
import type { Link, LinkTransport } from './core/link.ts';

/** What is done with the error of a link's Duplex. Returns true if the session is over with it; otherwise the link counts as lost. */
export type LinkFailure = (error: Error) => boolean;

/**
 * Uses a `Duplex`, a device stream or the TLS connection inside it, as a link of a session. From then on the Duplex belongs to the link. It is always read,
 * whatever is queued: two full rings would wait for each other otherwise.
 * @param binding what both ends derive from the link's TLS connection; empty without end-to-end encryption
 * @param start gives the transport to the session and returns the link
 * @param failed default: every error is a loss
 */
export function linkOverDuplex(
  duplex: Duplex,
  binding: Uint8Array,
  start: (transport: LinkTransport) => Link,
  failed: LinkFailure = () => false,
): Link {
  const link = start(new DuplexTransport(duplex, binding));
  duplex.on('data', (chunk: Buffer) => link.receive(chunk));
  // An end without BYE is a loss like any other. Everything that arrived before has been delivered.
  duplex.on('end', () => link.lost());
  duplex.on('error', (error) => {
    if (!failed(error)) link.lost();
  });
  duplex.on('close', () => link.lost());
  if (duplex.destroyed) process.nextTick(() => link.lost());
  return link;
}

class DuplexTransport implements LinkTransport {
  readonly #duplex: Duplex;
  readonly binding: Uint8Array;

  constructor(duplex: Duplex, binding: Uint8Array) {
    this.#duplex = duplex;
    this.binding = binding;
  }

  write(parts: readonly Uint8Array[], flushed: () => void): void {
    const duplex = this.#duplex;
    if (duplex.destroyed || duplex.writableEnded) return;
    const last = parts.length - 1;
    for (let index = 0; index < last; index++) duplex.write(parts[index]);
    duplex.write(parts[last], () => flushed());
  }

  end(): void {
    const duplex = this.#duplex;
    if (duplex.destroyed) return;
    duplex.end();
    duplex.on('error', () => undefined);
    // The peer's own end is not needed: everything that counts was acknowledged, or is lost with the session. A peer may go on sending for ever.
    duplex.once('finish', () => {
      const timer = inBackground(systemClock).setTimer(LIMITS.lingerMs, () => duplex.destroy());
      duplex.once('close', () => timer.cancel());
    });
  }

  destroy(): void {
    this.#duplex.on('error', () => undefined);
    this.#duplex.destroy();
  }
}
