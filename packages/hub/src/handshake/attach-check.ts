import { CulvertError } from '@culvert/protocol';
import { principalStillHolds } from '../auth/revocation.ts';
import type { ChannelRegistrar, ControlChannel } from '../control/control-channel.ts';
import type { PolicyStore, Registry, RegistryListener } from '../registry/registry.ts';
import type { Router } from '../routing/router.ts';

/**
 * Attaches channels to the router and looks at their credential once more: a device disabled while it was being let in was not yet
 * there to be closed when the registry told of the change. It is told again then, so that streams the channel has accepted meanwhile
 * end too.
 */
export class AttachCheck implements ChannelRegistrar {
  readonly #router: Router;
  readonly #registry: Pick<Registry, 'get'>;
  readonly #policies: Pick<PolicyStore, 'get'>;
  readonly #revocation: RegistryListener;

  constructor(options: {
    router: Router;
    store: { registry: Pick<Registry, 'get'>; policies: Pick<PolicyStore, 'get'> };
    revocation: RegistryListener;
  }) {
    this.#router = options.router;
    this.#registry = options.store.registry;
    this.#policies = options.store.policies;
    this.#revocation = options.revocation;
  }

  attach(channel: ControlChannel): void {
    this.#router.attach(channel);
    void this.#verify(channel);
  }

  offersChanged(channel: ControlChannel): void {
    this.#router.offersChanged(channel);
  }

  async #verify(channel: ControlChannel): Promise<void> {
    const { principal, deviceId } = channel;
    const { owner } = principal.key;
    try {
      const device = await this.#registry.get(deviceId);
      const policy = owner.kind === 'policy' ? await this.#policies.get(owner.policy) : undefined;
      if (principalStillHolds(principal, { device, ...(policy === undefined ? {} : { policy }) })) return;
      channel.close(new CulvertError('revoked'));
      this.#revocation.deviceChanged(deviceId, device);
      if (policy !== undefined) this.#revocation.policyChanged(policy);
    } catch (error) {
      channel.close(CulvertError.from(error));
    }
  }
}
