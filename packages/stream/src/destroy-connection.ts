import type { Socket } from 'node:net';

/**
 * Destroys a TCP connection that TLS may stand on in this process, at the end of the event loop's turn.
 *
 * Node frees a TLS connection at once when it is destroyed after the connection below it, also where its own OpenSSL is still at work:
 * in 'secureConnect' and 'secureConnection', and in the ticks and promises that follow them, the process then dies of SIGSEGV (Node 20 to 26).
 * Nobody can see from a TCP socket whether this is such a moment. At the end of the turn it never is; and who destroys the TLS connection
 * meanwhile does so in the safe order. `tools/destroy.test.ts` looks for others who destroy such connections.
 */
export function destroyConnection(connection: { destroy(): unknown }): void {
  setImmediate(() => connection.destroy());
}

/** As {@link destroyConnection}, but the peer gets a reset rather than an end. */
export function resetConnection(connection: Socket): void {
  setImmediate(() => connection.resetAndDestroy());
}
