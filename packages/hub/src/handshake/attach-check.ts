import { CulvertError } from '@culvert/protocol';
import { principalStillHolds } from '../auth/revocation.ts';
import type { ChannelRegistrar, ControlChannel } from '../control/control-channel.ts';
import type { PolicyStore, Registry } from '../registry/registry.ts';
import type { Router } from '../routing/router.ts';

/**
 * Attaches channels to the router and looks at their credential once more: a device disabled while it was being let in was not yet
 * there to be closed when the registry told of the change.
 */
export class AttachCheck implements ChannelRegistrar {
  readonly #router: Router;
  readonly #registry: Pick<Registry, 'get'>;
  readonly #policies: Pick<PolicyStore, 'get'>;

  constructor(options: {
    router: Router;
    store: { registry: Pick<Registry, 'get'>; policies: Pick<PolicyStore, 'get'> };
  }) {
    this.#router = options.router;
    this.#registry = options.store.registry;
    this.#policies = options.store.policies;
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
    } catch (error) {
      channel.close(CulvertError.from(error));
    }
  }
}
