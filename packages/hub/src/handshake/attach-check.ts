import { CulvertError, type Identity } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import { type CredentialChange, principalStillHolds } from '../auth/revocation.ts';
import type { ChannelRegistrar, ControlChannel } from '../control/control-channel.ts';
import type { EventSink } from '../observe/events.ts';
import type { AuthorityStore, IdentityRecord, PolicyStore, Registry, RegistryListener } from '../registry/registry.ts';
import type { Router } from '../routing/router.ts';
import { registerHostKeys } from './host-keys.ts';

/** What of the store a credential stands on. */
export interface CheckedStore {
  readonly registry: Pick<Registry, 'get' | 'put'>;
  readonly policies: Pick<PolicyStore, 'get'>;
  readonly authorities: Pick<AuthorityStore, 'list'>;
}

/**
 * Attaches channels to the router and looks at their credential once more: a device disabled while it was being let in was not yet
 * there to be closed when the registry told of the change. It is told again then, so that streams the channel has accepted meanwhile
 * end too.
 */
export class AttachCheck implements ChannelRegistrar {
  readonly #router: Router;
  readonly #store: CheckedStore;
  readonly #revocation: RegistryListener;
  readonly #onEvent: EventSink;

  constructor(options: {
    router: Router;
    store: CheckedStore;
    revocation: RegistryListener;
    onEvent: EventSink;
  }) {
    this.#router = options.router;
    this.#store = options.store;
    this.#revocation = options.revocation;
    this.#onEvent = options.onEvent;
  }

  attach(channel: ControlChannel): void {
    this.#router.attach(channel);
    void this.#verify(channel);
  }

  offersChanged(channel: ControlChannel): void {
    this.#router.offersChanged(channel);
    const { identity, takesOffers } = channel;
    this.#onEvent({ type: 'device-offers-changed', ...identity, takesOffers });
  }

  async #verify(channel: ControlChannel): Promise<void> {
    const { principal, identity } = channel;
    try {
      const device = await this.#store.registry.get({ deviceId: identity.deviceId });
      const record = identity.moduleId === undefined ? device : await this.#store.registry.get(identity);
      const change = { identity: record, ...(await this.#credential(principal)) };
      if (device?.status === 'enabled' && principalStillHolds(principal, change)) {
        return await registerHostKeys(channel, record, this.#store.registry, this.#onEvent);
      }
      channel.close(new CulvertError('revoked'));
      this.#tellAgain(identity, device, change);
    } catch (error) {
      channel.close(CulvertError.from(error));
    }
  }

  /** What there is now of that which proved the principal, beside its own record. */
  async #credential({ proof }: Principal): Promise<CredentialChange> {
    if (proof.kind === 'authority') return { authorities: await this.#store.authorities.list() };
    if (proof.owner.kind !== 'policy') return {};
    const policy = await this.#store.policies.get(proof.owner.policy);
    return policy === undefined ? {} : { policy };
  }

  #tellAgain(identity: Identity, device: IdentityRecord | undefined, change: CredentialChange): void {
    if (device?.status !== 'enabled') this.#revocation.identityChanged({ deviceId: identity.deviceId }, device);
    else this.#revocation.identityChanged(identity, change.identity);
    if (change.policy !== undefined) this.#revocation.policyChanged(change.policy);
    if (change.authorities !== undefined) this.#revocation.authoritiesChanged(change.authorities);
  }
}
