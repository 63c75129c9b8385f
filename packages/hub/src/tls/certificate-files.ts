import { stat } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { CertificateListener, CertificateSource } from './certificate-source.ts';
import { type KeyPair, loadKeyPair } from './key-pair.ts';

/** Milliseconds between two looks at the files. */
const POLL_MS = 10_000;

export interface CertificateFilesOptions {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clock: Clock;
  readonly listener: CertificateListener;
}

/**
 * An operator's certificate and key files, loaded again when they change. They are looked at every ten seconds rather than watched:
 * a watch is on the file a name led to when it began, while certbot and Kubernetes swap a symbolic link above it.
 */
export class CertificateFiles implements CertificateSource {
  readonly #options: CertificateFilesOptions;
  #current: KeyPair;
  #seen: string;
  #timer: Timer | undefined;
  #closed = false;
  #last: Promise<void> = Promise.resolve();

  private constructor(options: CertificateFilesOptions, first: KeyPair, seen: string) {
    this.#options = options;
    this.#current = first;
    this.#seen = seen;
    this.#lookLater();
  }

  /** @throws CulvertError `config_invalid` when the first pair cannot be used */
  static async open(options: CertificateFilesOptions): Promise<CertificateFiles> {
    const seen = await identity(options);
    const first = await loadKeyPair(options.certFile, options.keyFile, options.clock.now());
    return new CertificateFiles(options, first, seen);
  }

  get current(): KeyPair {
    return this.#current;
  }

  /** One after the other, so that an older reading never replaces a newer one. */
  reload(): Promise<void> {
    this.#last = this.#last.then(() => this.#load());
    return this.#last;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #load(): Promise<void> {
    const { certFile, keyFile, clock, listener } = this.#options;
    // Taken before reading: a change in between shows at the next look.
    this.#seen = await identity(this.#options);
    let pair: KeyPair;
    try {
      pair = await loadKeyPair(certFile, keyFile, clock.now());
    } catch (error) {
      if (!this.#closed) listener.kept(CulvertError.from(error).message);
      return;
    }
    if (this.#closed) return;
    this.#current = pair;
    listener.loaded(pair);
  }

  #lookLater(): void {
    this.#timer = this.#options.clock.setTimer(POLL_MS, () => void this.#look());
  }

  async #look(): Promise<void> {
    if ((await identity(this.#options)) !== this.#seen) await this.reload();
    if (!this.#closed) this.#lookLater();
  }
}

/** What tells one version of the two files from another: which files the names lead to, their size and times. */
async function identity(files: { readonly certFile: string; readonly keyFile: string }): Promise<string> {
  const parts = await Promise.all(
    [files.certFile, files.keyFile].map(async (file) => {
      try {
        const { dev, ino, size, mtimeMs, ctimeMs } = await stat(file);
        return [dev, ino, size, mtimeMs, ctimeMs].join(':');
      } catch {
        return 'unreadable';
      }
    }),
  );
  return parts.join(' ');
}
