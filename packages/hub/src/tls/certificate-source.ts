import type { KeyPair } from './key-pair.ts';

/** Where the hub's certificate comes from: an operator's files, or the built-in authority of the data directory. */
export interface CertificateSource {
  /** The pair to serve with now. */
  readonly current: KeyPair;
  /** Looks now (SIGHUP). Never rejects: the listener is told how it went. */
  reload(): Promise<void>;
  /** Stops looking. */
  close(): void;
}

/** Is told what became of a certificate after the first. */
export interface CertificateListener {
  /** Serve with this pair from now on. */
  loaded(pair: KeyPair): void;
  /** A new pair could not be used; the old one stays. @param problem one sentence for the log */
  kept(problem: string): void;
}
