import type { Grant } from '@culvert/protocol/grant';
import type { TestCertificate } from '@culvert/testkit';
import type { Joined } from '../traffic/pour.ts';

/** What stands between two TLS connections and passes bytes from the one to the other. */
export interface RunningMiddle {
  /** Whether it takes the client's mask off the frames; else it passes every byte on as it came. */
  readonly unmasks: boolean;
  /** Opens a stream through it: both ends are ready to carry bytes. */
  join(): Promise<Joined>;
  /** What another process needs to open a stream; absent where only the driver can. */
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
