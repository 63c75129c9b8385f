import { stat } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { CertificateListener, CertificateSource } from './certificate-source.ts';
import { type KeyPair, loadKeyPair } from './key-pair.ts';

/** Milliseconds between two checks of the files for changes. */
const POLL_MS = 10_000;

export interface CertificateFilesOptions {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clock: Clock;
  readonly listener: CertificateListener;
}

/**
 * An operator's certificate and key files, loaded again when they change. They are checked every ten seconds rather than watched: a watch stays on the
 * file that the path led to when the watch began, whereas certbot and Kubernetes replace a symbolic link in the path.
 */
export class CertificateFiles implements CertificateSource {
  readonly #options: CertificateFilesOptions;
  #current: KeyPair;
  #loadedIdentity: string;
  #timer: Timer | undefined;
  #closed = false;
  #last: Promise<void> = Promise.resolve();

  private constructor(options: CertificateFilesOptions, first: KeyPair, seen: string) {
    this.#options = options;
    this.#current = first;
    this.#loadedIdentity = seen;
    this.#scheduleCheck();
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

  /** Loads run one after the other, so that the result of an older load never replaces that of a newer one. */
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
    // Recorded before the files are read, so that the next check notices a change during the reading.
    this.#loadedIdentity = await identity(this.#options);
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

  #scheduleCheck(): void {
    this.#timer = this.#options.clock.setTimer(POLL_MS, () => void this.#check());
  }

  async #check(): Promise<void> {
    if ((await identity(this.#options)) !== this.#loadedIdentity) await this.reload();
    if (!this.#closed) this.#scheduleCheck();
  }
}

/** Identifies a version of the two files: which files the paths lead to, their sizes and times. */
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
