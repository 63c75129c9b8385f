import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Principal } from '../../auth/principal.ts';
import { faultOf } from '../../observe/events.ts';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import { reportChannel, reportRefusal } from '../channel-events.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { AmqpChannel, type ChannelCarrier } from './amqp-channel.ts';

interface Entry {
  readonly identity: Identity;
  principal: Principal;
  /** Undefined while the identity has no link, on a connection that others share. */
  channel: AmqpChannel | undefined;
}

export interface IdentitiesOptions {
  readonly origin: ControlOrigin;
  readonly deps: ControlDeps;
  readonly carrier: ChannelCarrier;
  /** Called before an identity's channel is attached. */
  readonly onAuthenticated: () => void;
}

/** The authenticated identities of one connection, and their channels. */
export class AmqpIdentities {
  readonly #options: IdentitiesOptions;
  /** By identity name. */
  readonly #entries = new Map<string, Entry>();
  /** Credentials being verified. */
  #verifying = 0;
  #hasEnded = false;

  constructor(options: IdentitiesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether an identity has authenticated on this connection, or its credential is being verified. */
  get isClaimed(): boolean {
    return this.size > 0 || this.#verifying > 0;
  }

  /** The current channels. */
  get channels(): AmqpChannel[] {
    return [...this.#entries.values()].flatMap(({ channel }) => channel ?? []);
  }

  /** The identity's channel, created again if it had ended; undefined when the identity has not authenticated or its credential has expired. */
  channel(identity: Identity): AmqpChannel | undefined {
    const entry = this.#entries.get(identityName(identity));
    if (entry === undefined) return undefined;
    if (entry.channel !== undefined) return entry.channel;
    if (entry.principal.expiresAt > this.#options.deps.clock.now()) return this.#attach(entry);
    this.#entries.delete(identityName(identity));
    return undefined;
  }

  /**
   * Verifies a credential and admits the identity to the connection, or renews its credential there.
   * @throws CulvertError as `ControlDeps.authenticate`; `too_many_requests`; `device_gone` when the connection ended meanwhile
   */
  async admit(identity: Identity, token: string | undefined): Promise<AmqpChannel> {
    const { deps, origin } = this.#options;
    if (this.size + this.#verifying >= AMQP_LIMITS.identities && !this.#entries.has(identityName(identity)))
      throw new CulvertError('too_many_requests', 'Too many identities on one connection.');
    this.#verifying++;
    try {
      const { certificate, certificateAsked } = origin;
      const principal = await deps.authenticate({ identity, token, certificate, certificateAsked });
      if (this.#hasEnded) throw new CulvertError('device_gone');
      return this.#admitted(identity, principal);
    } catch (reason) {
      const error = CulvertError.from(reason);
      const fault = faultOf(error, origin.protocol);
      if (fault !== undefined) deps.onEvent(fault);
      reportRefusal(error, origin, deps.onEvent, identity);
      throw error;
    } finally {
      this.#verifying--;
    }
  }

  /**
   * Admits the identity to the connection if the connection's certificate authenticates it. The client has not claimed this identity, so a refusal
   * is not reported. To be called while no identity has authenticated.
   */
  async admitByCertificate(identity: Identity): Promise<void> {
    const { deps, origin } = this.#options;
    if (this.#verifying > 0) return;
    this.#verifying++;
    try {
      const { certificate } = origin;
      const principal = await deps.authenticate({ identity, token: undefined, certificate });
      if (!this.#hasEnded) this.#admitted(identity, principal);
    } catch (reason) {
      const fault = faultOf(CulvertError.from(reason), origin.protocol);
      if (fault !== undefined) deps.onEvent(fault);
    } finally {
      this.#verifying--;
    }
  }

  /** Removes the identity from the connection, until it authenticates again. */
  remove({ identity }: AmqpChannel): void {
    this.#entries.delete(identityName(identity));
  }

  /**
   * Handles the detachment of a channel's last link. It ends the channel if other identities share the connection; otherwise the channel ends with
   * its connection. Returns whether the channel has ended.
   */
  leave(channel: AmqpChannel): boolean {
    const entry = this.#entries.get(identityName(channel.identity));
    if (this.size < 2 || entry?.channel !== channel) return false;
    entry.channel = undefined;
    channel.ended(new CulvertError('device_gone', 'The device detached its links.'));
    return true;
  }

  /** The connection has ended. */
  end(error: CulvertError): void {
    this.#hasEnded = true;
    for (const channel of this.channels) channel.ended(error);
    this.#entries.clear();
  }

  #admitted(identity: Identity, principal: Principal): AmqpChannel {
    const name = identityName(identity);
    const entry = this.#entries.get(name);
    if (entry?.channel === undefined) {
      const fresh: Entry = { identity, principal, channel: undefined };
      this.#entries.set(name, fresh);
      return this.#attach(fresh);
    }
    entry.principal = principal;
    entry.channel.renew(principal);
    this.#options.deps.registrar.attach(entry.channel);
    return entry.channel;
  }

  #attach(entry: Entry): AmqpChannel {
    const { origin, deps, carrier, onAuthenticated } = this.#options;
    const { protocol, remoteAddress } = origin;
    const channel = new AmqpChannel(
      { ...entry, protocol, remoteAddress, connectedAt: deps.clock.now() },
      {
        ...{ carrier, clock: deps.clock, maxOffers: deps.limits.maxOffers },
        onReport: () => reportChannel(channel, deps),
      },
    );
    entry.channel = channel;
    onAuthenticated();
    deps.registrar.attach(channel);
    return channel;
  }
}
