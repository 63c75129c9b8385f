import type { ServerResponse } from 'node:http';
import type { DeviceNotice, Identity, PresenceView } from '@culvert/protocol';
import type { Principal } from '../auth/principal.ts';
import type { ControlChannel } from '../control/control-channel.ts';
import type { EventSink, HubEvent } from '../observe/events.ts';
import type { Router } from '../routing/router.ts';
import type { Follower } from './follower.ts';
import type { LiveView } from './live-view.ts';
import { presenceView } from './presence-view.ts';

/** Events after which a device is shown otherwise than before. */
const CHANGES: ReadonlySet<HubEvent['type']> = new Set([
  'device-offers-changed',
  'device-unresponsive',
  'device-responsive',
  'device-detached',
]);

/** Tells followers of devices who is there, and then who comes and goes. Looks at nothing while nobody follows. */
export class DeviceFollowing {
  readonly #live: LiveView;
  readonly #router: Router;
  /** With the device that alone is meant, where one is. */
  readonly #followers = new Map<Follower, string | undefined>();
  #unsubscribe: (() => void) | undefined;

  constructor(live: LiveView, router: Router) {
    this.#live = live;
    this.#router = router;
  }

  /** Takes over an answer that nothing was written to. */
  async follow(response: ServerResponse, principal: Principal, deviceId: string | undefined): Promise<void> {
    const follower = this.#live.followers.add(response, principal, () => this.#left(follower));
    this.#followers.set(follower, deviceId);
    this.#unsubscribe ??= this.#live.subscribe(this.#observe);
    await follower.sendAll(this.#snapshot(deviceId));
    this.#tell(follower, { event: 'ready', data: {} });
  }

  /** Each as it is when its turn has come; one that has left by then is left out, its leaving was told. */
  *#snapshot(deviceId: string | undefined): Generator<DeviceNotice | undefined> {
    for (const { identity } of [...this.#router.channels()]) {
      if (deviceId !== undefined && identity.deviceId !== deviceId) continue;
      const channel = this.#router.channel(identity);
      yield channel && { event: 'online', data: this.#view(identity, channel) };
    }
  }

  readonly #observe: EventSink = (event: HubEvent) => {
    if (!CHANGES.has(event.type) || !('deviceId' in event)) return;
    const identity = { deviceId: event.deviceId, moduleId: event.moduleId };
    if (event.type === 'device-detached') void this.#wentAway(identity);
    else this.#tellOnline(identity);
  };

  /** Says whether it is there; false when it is not. */
  #tellOnline(identity: Identity): boolean {
    const channel = this.#router.channel(identity);
    if (channel !== undefined) this.#tellAll({ event: 'online', data: this.#view(identity, channel) });
    return channel !== undefined;
  }

  async #wentAway(identity: Identity): Promise<void> {
    // The router forgets the channel in the turn in which its end is told, after it was told.
    const last = await this.#live.lastDisconnect(identity);
    // One that was taken over, or has come back since, is there by its newer channel.
    if (this.#tellOnline(identity)) return;
    const known = { streams: this.#live.streams.of(identity), last };
    this.#tellAll({ event: 'offline', data: presenceView(identity, undefined, known) });
  }

  #view(identity: Identity, channel: ControlChannel): PresenceView {
    return presenceView(identity, channel, { streams: this.#live.streams.of(identity), last: undefined });
  }

  #tellAll(notice: DeviceNotice & { readonly data: { readonly deviceId: string } }): void {
    for (const [follower, deviceId] of this.#followers) {
      if (deviceId === undefined || deviceId === notice.data.deviceId) this.#tell(follower, notice);
    }
  }

  #tell(follower: Follower, notice: DeviceNotice): void {
    this.#live.followers.tell(follower, notice);
  }

  #left(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }
}
