import { CulvertError, type Identity } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import { type CredentialChange, principalStillHolds } from '../auth/revocation.ts';
import type { ChannelRegistrar, ControlChannel } from '../control/control-channel.ts';
import type { Router } from '../control/router.ts';
import type { EventSink } from '../observe/events.ts';
import type { AuthorityStore, IdentityRecord, PolicyStore, Registry, RegistryListener } from '../registry/registry.ts';
import { registerHostKeys } from './host-keys.ts';
import { OfferChanges } from './offer-changes.ts';

/** The parts of the store that credentials depend on. */
export interface CheckedStore {
  readonly registry: Pick<Registry, 'get' | 'put'>;
  readonly policies: Pick<PolicyStore, 'get'>;
  readonly authorities: Pick<AuthorityStore, 'list'>;
}

/**
 * Attaches channels to the router and then checks their credential again: a device that was disabled during its authentication was not yet
 * attached when the registry reported the change. In that case the change is reported again, which also ends the streams that the channel has
 * accepted meanwhile.
 */
export class ChannelRegistration implements ChannelRegistrar {
  readonly #router: Router;
  readonly #store: CheckedStore;
  readonly #revocation: RegistryListener;
  readonly #onEvent: EventSink;
  readonly #changes: OfferChanges;

  constructor(options: {
    router: Router;
    store: CheckedStore;
    revocation: RegistryListener;
    clock: Clock;
    onEvent: EventSink;
  }) {
    this.#router = options.router;
    this.#store = options.store;
    this.#revocation = options.revocation;
    this.#onEvent = options.onEvent;
    this.#changes = new OfferChanges(options);
  }

  attach(channel: ControlChannel): void {
    this.#router.attach(channel);
    void this.#verify(channel);
  }

  offersChanged(channel: ControlChannel): void {
    this.#router.offersChanged(channel);
    this.#changes.changed(channel);
  }

  async #verify(channel: ControlChannel): Promise<void> {
    const { principal, identity } = channel;
    try {
      const device = await this.#store.registry.get({ deviceId: identity.deviceId });
      const record = identity.moduleId === undefined ? device : await this.#store.registry.get(identity);
      const change = { identity: record, ...(await this.#credential(principal)) };
      const deviceHolds = device?.status === 'enabled' && keepsKey(device, principal);
      if (deviceHolds && principalStillHolds(principal, change)) {
        return await registerHostKeys(channel, record, this.#store.registry, this.#onEvent);
      }
      channel.close(new CulvertError('revoked'));
      this.#reportAgain(identity, deviceHolds ? undefined : { record: device }, change);
    } catch (error) {
      channel.close(CulvertError.from(error));
    }
  }

  /** The current authorities or policy that the principal's credential depends on, besides its own record. */
  async #credential({ proof }: Principal): Promise<CredentialChange> {
    if (proof.kind === 'authority') return { authorities: await this.#store.authorities.list() };
    if (proof.owner.kind !== 'policy') return {};
    const policy = await this.#store.policies.get(proof.owner.policy);
    return policy === undefined ? {} : { policy };
  }

  /** @param device set when the device was deleted or disabled, or no longer has the key that authenticated the module */
  #reportAgain(
    identity: Identity,
    device: { readonly record: IdentityRecord | undefined } | undefined,
    change: CredentialChange,
  ): void {
    if (device !== undefined) this.#revocation.identityChanged({ deviceId: identity.deviceId }, device.record);
    else this.#revocation.identityChanged(identity, change.identity);
    if (change.policy !== undefined) this.#revocation.policyChanged(change.policy);
    if (change.authorities !== undefined) this.#revocation.authoritiesChanged(change.authorities);
  }
}

/** Whether a device still has the key that authenticated one of its modules. True for principals that were authenticated otherwise. */
function keepsKey(device: IdentityRecord, principal: Principal): boolean {
  const { proof } = principal;
  const byDevice = proof.kind === 'key' && proof.module !== undefined;
  return !byDevice || principalStillHolds(principal, { identity: device });
}
