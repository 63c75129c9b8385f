import type { KeyPair } from './key-pair.ts';

/** The source of the hub's certificate: an operator's files, or the built-in authority of the data directory. */
export interface CertificateSource {
  /** The certificate and key to use now. */
  readonly current: KeyPair;
  /** Checks for a new certificate now (SIGHUP). Never rejects: the listener is notified of the result. */
  reload(): Promise<void>;
  /** Stops checking for new certificates. */
  close(): void;
}

/** Is notified of the result whenever a certificate later than the first was loaded or could not be used. */
export interface CertificateListener {
  /** A new pair was loaded and must be used from now on. */
  loaded(pair: KeyPair): void;
  /** A new pair could not be used; the old one stays in use. @param problem one sentence for the log */
  kept(problem: string): void;
}
