import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatServiceConnectionString } from '@culvert/protocol';
import type { PolicyRecord } from '../registry/registry.ts';
import { writeFileAtomic } from '../storage/atomic-file.ts';
import { openDataDirectory } from '../storage/data-directory.ts';

/**
 * The files `policies/NAME` of the data directory. Each contains a policy's connection string on one line, for scripts and for `culvert` on the hub's own
 * machine. Their mode is 0600, since the connection string is a secret.
 */
export class PolicyFiles {
  readonly #directory: string;
  readonly #address: { readonly host: string; readonly port: number };
  #last: Promise<void> = Promise.resolve();

  /** @param options.host the first advertised name, @param options.port the port clients reach the hub at */
  constructor(options: { readonly directory: string; readonly host: string; readonly port: number }) {
    this.#directory = join(options.directory, 'policies');
    this.#address = { host: options.host, port: options.port };
  }

  /** Writes the file of each policy whose text has changed. Calls run one after the other. Rejects with the file system's error. */
  write(policies: readonly PolicyRecord[]): Promise<void> {
    const done = this.#last.then(() => this.#writeAll(policies));
    // The next write must not fail because this one did; the caller of this one receives its error.
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #writeAll(policies: readonly PolicyRecord[]): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    openDataDirectory(this.#directory);
    for (const { name, primaryKey } of policies) {
      const text = formatServiceConnectionString({ ...this.#address, policy: name, key: primaryKey });
      await writeFileAtomic(join(this.#directory, name), `${text}\n`, 0o600);
    }
  }
}
