import type { SecureContext } from 'node:tls';

/** What a proxy agent needs to know about TLS. */
export interface InnerTls {
  /** Of the connection inside the tunnel; it may show a client certificate. */
  readonly secureContext?: SecureContext;
  /** Of the connection to the proxy itself, where that is TLS: the same trust, and never a client certificate. */
  readonly proxyContext?: SecureContext;
  /** The name inside the tunnel. */
  readonly servername?: string;
}
