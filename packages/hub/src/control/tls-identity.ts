import type { TLSSocket } from 'node:tls';
import { clientCertificate } from '../auth/client-certificate.ts';
import {
  asksForCertificate,
  type CertificateListener,
  certificateListeners,
  type HubConfig,
} from '../config/config.ts';
import type { TlsIdentity } from './control-channel.ts';

/** Tells what TLS said of a client that came to a listener: its certificate, and whether it was asked for one. */
export function tlsIdentities(config: HubConfig): (socket: TLSSocket, listener: CertificateListener) => TlsIdentity {
  const asking = certificateListeners(config);
  return (socket, listener) => ({
    certificate: clientCertificate(socket),
    certificateAsked: asksForCertificate(asking, listener, socket),
  });
}
