/**
 * A peer's address in its usual notation. On a socket that listens on all addresses an IPv4 peer has the IPv6 form `::ffff:192.0.2.1`
 * (RFC 4291 §2.5.5.2), which is converted to `192.0.2.1`. `unknown` when the peer has already disconnected.
 */
export function peerAddress(socket: { readonly remoteAddress?: string | undefined }): string {
  return socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, '') ?? 'unknown';
}
