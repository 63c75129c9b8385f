import type { EventSink } from '../observe/events.ts';
import type { PolicyStore, RegistryListener } from '../registry/registry.ts';
import type { PolicyFiles } from './policy-files.ts';

/** Writes the policies' connection strings to their files, at the start and whenever a policy changes. */
export class PolicyFileWriter implements RegistryListener {
  readonly #files: PolicyFiles;
  readonly #policies: PolicyStore;
  readonly #onEvent: EventSink;
  #last: Promise<void> = Promise.resolve();

  constructor(options: { files: PolicyFiles; policies: PolicyStore; onEvent: EventSink }) {
    this.#files = options.files;
    this.#policies = options.policies;
    this.#onEvent = options.onEvent;
  }

  /** Writes all files now. @throws errors of the file system */
  async writeAll(): Promise<void> {
    await this.#files.write(await this.#policies.list());
  }

  policyChanged(): void {
    this.#last = this.#last
      .then(() => this.writeAll())
      .catch((error: Error) => {
        const problem = `The files of the policies could not be written: ${error.message}`;
        this.#onEvent({ type: 'storage-failed', problem });
      });
  }

  identityChanged(): void {}

  authoritiesChanged(): void {}

  /** Resolves when no file is being written. */
  settled(): Promise<void> {
    return this.#last;
  }
}
