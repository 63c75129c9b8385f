import type { Grant } from '@culvert/protocol/grant';
import type { TestCertificate } from '@culvert/testkit';
import type { Joined } from '../traffic/pour.ts';

/** A program between two TLS connections that relays bytes. */
export interface RunningMiddle {
  /** Whether it unmasks WebSocket frames; otherwise it forwards every byte unchanged. */
  readonly unmasks: boolean;
  /** Opens a stream through it: both ends are ready to carry bytes. */
  join(): Promise<Joined>;
  /** What another process needs to open a stream; absent when only the driver can. */
  readonly ticket?: () => Promise<StreamTicket>;
}

/** A stream that any process can open, once. */
export interface StreamTicket {
  readonly from: Grant;
  readonly to: Grant;
  /** PEM of the authority that the middle's certificate is of. */
  readonly ca: string;
}

/** Files of a certificate for 127.0.0.1, for programs that read files. */
export interface CertificateFiles extends TestCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** Certificate and key in one. */
  readonly bothFile: string;
}
