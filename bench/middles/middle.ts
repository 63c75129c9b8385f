import type { TestCertificate } from '@culvert/testkit';
import type { Joined } from '../traffic/pour.ts';

/** What stands between two TLS connections and passes bytes from the one to the other. */
export interface RunningMiddle {
  /** Whether it takes the client's mask off the frames; else it passes every byte on as it came. */
  readonly unmasks: boolean;
  /** Opens a stream through it: both ends are ready to carry bytes. */
  join(): Promise<Joined>;
}

/** Files of a certificate for 127.0.0.1, for programs that read files. */
export interface CertificateFiles extends TestCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** Certificate and key in one. */
  readonly bothFile: string;
}
