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
/** A certificate with less than this left is replaced: time enough to notice that it failed. */
const RENEW_BEFORE_MS = 30 * DAY_MS;
/** An authority must outlive what it signs: a server's certificate lives 397 days. */
const AUTHORITY_LEFT_MS = 400 * DAY_MS;
/** Milliseconds between two looks at the time left. */
const CHECK_MS = DAY_MS;

export interface OwnCertificateOptions {
  /** The data directory, locked by the open store: two hubs must not make authorities side by side. */
  readonly directory: string;
  /** Every advertised host name and IP address, without port or brackets. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly listener: CertificateListener;
}

/**
 * The built-in authority of the data directory and the server certificate it issues: made on first start, kept, renewed in time. The authority
 * is constrained to the advertised names and this machine's own, so trusting its `ca.pem` lets nobody pose as anything else.
 */
export class OwnCertificate implements CertificateSource {
  /** `ca.pem`: the authorities clients are to trust, all of them, PEM. */
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

  /** @throws CulvertError `config_invalid` when a name is none, or the directory's files cannot be read or written */
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

  /** One sentence when `open` had to make a further authority: clients that trust only the older ones must be given the new `ca.pem`. */
  get notice(): string | undefined {
    return this.#notice;
  }

  reload(): Promise<void> {
    return this.renewIfNeeded();
  }

  /** Replaces the certificate when fewer than 30 days of it are left. Never rejects; the listener is told. */
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
      await this.#trust(known);
      this.#current = serving;
      return;
    }
    const covering = known.find((authority) => covers(authority, this.#names, now + AUTHORITY_LEFT_MS));
    const fit = covering && (await withEarlyBegin(covering));
    const signer = fit ?? (await addAuthority(directory, this.#names, now));
    if (fit === undefined && known.length > 0) {
      this.#notice = `The certificate authority did not cover all advertised names or nears its end, so a further one was made: give clients the new ${this.caFile}.`;
    }
    // Clients must be able to trust the new authority before the hub shows what it signed.
    await this.#trust(fit === undefined ? [signer, ...known] : known.map((one) => (one === covering ? fit : one)));
    this.#current = await this.#issue(signer, now);
  }

  async #trust(authorities: readonly Authority[]): Promise<void> {
    const bundle = authorities.map(({ cert }) => cert).join('');
    await writeFileAtomic(this.caFile, bundle, 0o644);
    this.#ca = bundle;
  }

  /** The certificate on disk when it is good for longer than the renewal time: right names, signed by one of the authorities. */
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
      // Damaged, half replaced or running out: all the same, another one is made.
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
