import type { Socket } from 'node:net';

/**
 * Destroys a TCP connection at the end of the current event-loop iteration. Use it for every TCP connection that may carry TLS in this process.
 *
 * If a TLS connection is destroyed after the TCP connection below it, Node frees it at once, even while Node's own OpenSSL code still uses it.
 * In 'secureConnect' and 'secureConnection', and in the ticks and promises that follow these events, the process then crashes with SIGSEGV
 * (Node 20 to 26). A TCP socket does not show whether the code runs at such a moment. The end of the iteration is never such a moment, and code
 * that destroys the TLS connection before then does so in the safe order. `tools/destroy.test.ts` finds code that destroys such connections directly.
 */
export function destroyConnection(connection: { destroy(): unknown }): void {
  setImmediate(() => connection.destroy());
}

/** As {@link destroyConnection}, but the peer receives a TCP reset instead of a FIN. */
export function resetConnection(connection: Socket): void {
  setImmediate(() => connection.resetAndDestroy());
}
