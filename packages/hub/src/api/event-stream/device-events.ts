import type { ServerResponse } from 'node:http';
import type { DeviceNotice, Identity, PresenceView } from '@culvert/protocol';
import type { Principal } from '../../auth/principal.ts';
import type { ControlChannel } from '../../control/control-channel.ts';
import type { Router } from '../../control/router.ts';
import type { EventSink, HubEvent } from '../../observe/events.ts';
import { presenceView } from '../documents/presence.ts';
import type { LiveView } from '../live-view-deps.ts';
import type { Subscriber } from './subscriber.ts';

/** Events that change a device's presence. */
const PRESENCE_CHANGES: ReadonlySet<HubEvent['type']> = new Set([
  'device-offers-changed',
  'device-unresponsive',
  'device-responsive',
  'device-detached',
]);

/** Sends subscribers the current presence of devices, then every change. Does nothing without subscribers. */
export class DeviceFollowing {
  readonly #live: LiveView;
  readonly #router: Router;
  /** The device id that each subscriber asked for; undefined for all devices. */
  readonly #subscribers = new Map<Subscriber, string | undefined>();
  #unsubscribe: (() => void) | undefined;

  constructor(live: LiveView, router: Router) {
    this.#live = live;
    this.#router = router;
  }

  /** Takes over a response to which nothing was written yet. */
  async follow(response: ServerResponse, principal: Principal, deviceId: string | undefined): Promise<void> {
    const subscriber = this.#live.subscribers.add(response, principal, () => this.#onGone(subscriber));
    this.#subscribers.set(subscriber, deviceId);
    this.#unsubscribe ??= this.#live.subscribe(this.#observe);
    await subscriber.sendAll(this.#snapshot(deviceId));
    this.#send(subscriber, { event: 'ready', data: {} });
  }

  /** Each device as it is when written; a device that has disconnected meanwhile is skipped, since its `offline` event was sent. */
  *#snapshot(deviceId: string | undefined): Generator<DeviceNotice | undefined> {
    for (const { identity } of [...this.#router.channels()]) {
      if (deviceId !== undefined && identity.deviceId !== deviceId) continue;
      const channel = this.#router.channel(identity);
      yield channel && { event: 'online', data: this.#view(identity, channel) };
    }
  }

  readonly #observe: EventSink = (event: HubEvent) => {
    if (!PRESENCE_CHANGES.has(event.type) || !('deviceId' in event)) return;
    const identity = { deviceId: event.deviceId, moduleId: event.moduleId };
    if (event.type === 'device-detached') void this.#onDetached(identity);
    else this.#sendIfOnline(identity);
  };

  /** Sends the identity's presence; returns false when it is offline. */
  #sendIfOnline(identity: Identity): boolean {
    const channel = this.#router.channel(identity);
    if (channel !== undefined) this.#sendToAll({ event: 'online', data: this.#view(identity, channel) });
    return channel !== undefined;
  }

  async #onDetached(identity: Identity): Promise<void> {
    // The router removes the channel in the same event-loop iteration, after this event.
    const last = await this.#live.lastDisconnect(identity);
    // After a takeover or a reconnect, the device is online through its newer channel.
    if (this.#sendIfOnline(identity)) return;
    const known = { streams: this.#live.streams.of(identity), last };
    this.#sendToAll({ event: 'offline', data: presenceView(identity, undefined, known) });
  }

  #view(identity: Identity, channel: ControlChannel): PresenceView {
    return presenceView(identity, channel, { streams: this.#live.streams.of(identity), last: undefined });
  }

  #sendToAll(notice: DeviceNotice & { readonly data: { readonly deviceId: string } }): void {
    for (const [subscriber, deviceId] of this.#subscribers) {
      if (deviceId === undefined || deviceId === notice.data.deviceId) this.#send(subscriber, notice);
    }
  }

  #send(subscriber: Subscriber, notice: DeviceNotice): void {
    this.#live.subscribers.send(subscriber, notice);
  }

  #onGone(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    if (this.#subscribers.size > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }
}
