import type { Identity } from '@culvert/protocol';
import type { AuthorityRecord, IdentityRecord, PolicyRecord, RegistryListener } from './registry.ts';

/** Reports every change of the registry to several listeners, in the order in which they were added. */
export class RegistryListeners implements RegistryListener {
  readonly #listeners: RegistryListener[] = [];

  add(...listeners: readonly RegistryListener[]): void {
    this.#listeners.push(...listeners);
  }

  identityChanged(identity: Identity, record: IdentityRecord | undefined): void {
    for (const listener of this.#listeners) listener.identityChanged(identity, record);
  }

  policyChanged(policy: PolicyRecord): void {
    for (const listener of this.#listeners) listener.policyChanged(policy);
  }

  authoritiesChanged(authorities: readonly AuthorityRecord[]): void {
    for (const listener of this.#listeners) listener.authoritiesChanged(authorities);
  }
}
