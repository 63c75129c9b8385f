import type { Grant } from '@culvert/protocol/grant';
import type { TestCertificate } from '@culvert/testkit';
import type { Joined } from '../traffic/pour.ts';

/** A running program that relays bytes between two TLS connections. */
export interface RunningMiddle {
  /** Whether it unmasks WebSocket frames; otherwise it forwards every byte unchanged. */
  readonly unmasks: boolean;
  /** Opens a stream through the program; when it resolves, both ends are ready to carry bytes. */
  join(): Promise<Joined>;
  /** Returns what another process needs to open a stream; absent when only the driver can open one. */
  readonly ticket?: () => Promise<StreamTicket>;
}

/** A stream that any process can open, once. */
export interface StreamTicket {
  readonly from: Grant;
  readonly to: Grant;
  /** PEM of the authority that signed the middle's certificate. */
  readonly ca: string;
}

/** The files of a certificate for 127.0.0.1, for programs that read files. */
export interface CertificateFiles extends TestCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** The file with both the certificate and the key. */
  readonly bothFile: string;
}
