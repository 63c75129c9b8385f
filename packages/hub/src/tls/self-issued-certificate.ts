import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import { readIfThere, writeFileAtomic } from '../storage/atomic-file.ts';
import {
  type Authority,
  addAuthority,
  authorityKey,
  covers,
  readAuthorities,
  withEarlyBegin,
} from './built-in-authority.ts';
import type { CertificateListener, CertificateSource } from './certificate-source.ts';
import { type HostName, withLocalNames } from './host-name.ts';
import { checkedKeyPair, type KeyPair } from './key-pair.ts';

const DAY_MS = 86_400_000;
/** Milliseconds before its expiry at which a certificate is replaced: enough time to notice when the replacement fails. */
const RENEW_BEFORE_MS = 30 * DAY_MS;
/** Milliseconds that an authority must be valid when it signs: longer than the 397 days of a server certificate. */
const AUTHORITY_LEFT_MS = 400 * DAY_MS;
/** Milliseconds between two checks of the certificate's remaining validity. */
const CHECK_MS = DAY_MS;

export interface OwnCertificateOptions {
  /** The data directory, locked by the open store, so that two hubs cannot create authorities in it at the same time. */
  readonly directory: string;
  /** Every advertised host name and IP address, without port or brackets. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly listener: CertificateListener;
}

/**
 * The built-in authority of the data directory and the server certificate it issues. Both are created on the first start, stored, and replaced before they
 * expire. The authority is constrained to the advertised names and those of this machine, so trust in its `ca.pem` does not let anyone impersonate other hosts.
 */
export class OwnCertificate implements CertificateSource {
  /** `ca.pem`: all authorities that clients must trust, PEM. */
  readonly caFile: string;
  readonly #options: OwnCertificateOptions;
  readonly #names: readonly HostName[];
  #ca = '';
  #notice: string | undefined;
  #current: KeyPair | undefined;
  #timer: Timer | undefined;
  #closed = false;
  #last: Promise<void> = Promise.resolve();

  private constructor(options: OwnCertificateOptions) {
    this.#options = options;
    this.#names = withLocalNames(options.names);
    this.caFile = join(options.directory, 'ca.pem');
  }

  /** @throws CulvertError `config_invalid` when a name is not valid, or the directory's files cannot be read or written */
  static async open(options: OwnCertificateOptions): Promise<OwnCertificate> {
    const own = new OwnCertificate(options);
    try {
      await own.#renew();
    } catch (error) {
      throw CulvertError.from(error, 'config_invalid', `The hub's certificate cannot be made: ${text(error)}.`);
    }
    own.#checkLater();
    return own;
  }

  get current(): KeyPair {
    if (this.#current === undefined) throw new CulvertError('internal', 'There is no certificate yet.');
    return this.#current;
  }

  /** The text of `ca.pem`. */
  get ca(): string {
    return this.#ca;
  }

  /** One sentence if another authority had to be created: clients that trust only the older ones must be given the new `ca.pem`. */
  get notice(): string | undefined {
    return this.#notice;
  }

  reload(): Promise<void> {
    return this.renewIfNeeded();
  }

  /** Replaces the certificate when it is valid for less than 30 more days. Never rejects; the listener is notified of the result. */
  renewIfNeeded(): Promise<void> {
    this.#last = this.#last.then(async () => {
      const before = this.#current;
      try {
        await this.#renew();
      } catch (error) {
        if (!this.#closed) this.#options.listener.kept(`The hub's certificate could not be renewed: ${text(error)}.`);
        return;
      }
      if (this.#current !== undefined && this.#current.cert !== before?.cert && !this.#closed) {
        this.#options.listener.loaded(this.#current);
      }
    });
    return this.#last;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #checkLater(): void {
    this.#timer = this.#options.clock.setTimer(CHECK_MS, () => {
      void this.renewIfNeeded();
      this.#checkLater();
    });
  }

  async #renew(): Promise<void> {
    const { directory, clock } = this.#options;
    const now = clock.now();
    const known = await readAuthorities(directory, now);
    const serving = await this.#stored(known, now);
    if (serving !== undefined) {
      await this.#writeCa(known);
      this.#current = serving;
      return;
    }
    const covering = known.find((authority) => covers(authority, this.#names, now + AUTHORITY_LEFT_MS));
    const fit = covering && (await withEarlyBegin(covering));
    const signer = fit ?? (await addAuthority(directory, this.#names, now));
    if (fit === undefined && known.length > 0) {
      this.#notice = `The certificate authority did not cover all advertised names or is about to expire, so another one was created: give clients the new ${this.caFile}.`;
    }
    // Clients must be able to trust the new authority before the hub presents a certificate that it has signed.
    await this.#writeCa(fit === undefined ? [signer, ...known] : known.map((one) => (one === covering ? fit : one)));
    this.#current = await this.#issue(signer, now);
  }

  async #writeCa(authorities: readonly Authority[]): Promise<void> {
    const bundle = authorities.map(({ cert }) => cert).join('');
    await writeFileAtomic(this.caFile, bundle, 0o644);
    this.#ca = bundle;
  }

  /** The stored certificate if it needs no replacement yet, is for exactly these names and is signed by one of the authorities; otherwise undefined. */
  async #stored(authorities: readonly Authority[], now: number): Promise<KeyPair | undefined> {
    const { certFile, keyFile } = this.#files();
    const [cert, key] = await Promise.all([readIfThere(certFile), readIfThere(keyFile)]);
    if (cert === undefined || key === undefined) return undefined;
    try {
      const pair = checkedKeyPair({ cert, key, certFile, keyFile }, now + RENEW_BEFORE_MS);
      const certificate = new X509Certificate(cert);
      const isSelfIssued = authorities.some((authority) => certificate.verify(authority.certificate.publicKey));
      return isSelfIssued && isFor(certificate, this.#names) ? pair : undefined;
    } catch (error) {
      // A certificate that is damaged, does not match its key or is about to expire is replaced by a new one.
      if (error instanceof CulvertError) return undefined;
      throw error;
    }
  }

  async #issue(signer: Authority, now: number): Promise<KeyPair> {
    const { certFile, keyFile } = this.#files();
    const { issueServerCertificate } = await import('./certificate-issuer.ts');
    const issuer = { cert: signer.cert, key: await authorityKey(signer) };
    const { cert, key } = await issueServerCertificate(issuer, this.#names, now);
    await writeFileAtomic(keyFile, key, 0o600);
    await writeFileAtomic(certFile, cert, 0o600);
    return checkedKeyPair({ cert, key, certFile, keyFile }, now);
  }

  #files(): { certFile: string; keyFile: string } {
    const { directory } = this.#options;
    return { certFile: join(directory, 'server.pem'), keyFile: join(directory, 'server.key') };
  }
}

function isFor(certificate: X509Certificate, names: readonly HostName[]): boolean {
  const entries = certificate.subjectAltName?.split(', ').length;
  return (
    entries === names.length &&
    names.every(({ kind, text }) =>
      kind === 'ip' ? certificate.checkIP(text) : certificate.checkHost(text, { subject: 'never' }),
    )
  );
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
