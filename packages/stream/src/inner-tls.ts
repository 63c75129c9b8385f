import type { SecureContext } from 'node:tls';

/** TLS settings of an agent. */
export interface InnerTls {
  /** For the connection to the hub or gateway, also inside a proxy's tunnel. It may contain a client certificate. */
  readonly secureContext?: SecureContext;
  /** For the connection to an HTTPS proxy: it trusts the same authorities and never contains a client certificate. */
  readonly proxyContext?: SecureContext;
  /** The server name for the connection to the hub or gateway. */
  readonly servername?: string;
}
