import type { SecureContext } from 'node:tls';

/** What a proxy agent needs to know about the TLS connection inside the tunnel. */
export interface InnerTls {
  readonly secureContext?: SecureContext;
  readonly servername?: string;
}
