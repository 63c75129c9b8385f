import type { TLSSocket } from 'node:tls';
import { clientCertificate } from '../auth/client-certificate.ts';
import {
  asksForCertificate,
  type CertificateListener,
  certificateListeners,
  type HubConfig,
} from '../config/config.ts';
import type { TlsIdentity } from './control-channel.ts';

/** Returns a function that reads a client's TLS identity at a listener: its certificate, and whether the listener asked for one. */
export function tlsIdentities(config: HubConfig): (socket: TLSSocket, listener: CertificateListener) => TlsIdentity {
  const asking = certificateListeners(config);
  return (socket, listener) => ({
    certificate: clientCertificate(socket),
    certificateAsked: asksForCertificate(asking, listener, socket),
  });
}
