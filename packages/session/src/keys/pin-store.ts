import type { Fingerprint } from './fingerprint.ts';
import type { Pin, PinnedName } from './known-devices-file.ts';

/** What the pins say about a device's key. */
export type PinVerdict =
  | { readonly verdict: 'match'; readonly pin: Pin }
  /** There is no pin for the device yet. */
  | { readonly verdict: 'first-use' }
  /** The device has another key than the pinned one. */
  | { readonly verdict: 'changed'; readonly pin: Pin };

/** Where the service side keeps the keys of devices: a file (`KnownDevices`) or this process's memory. */
export interface PinStore {
  /** The pin of a device; undefined when it has none. */
  find(name: PinnedName): Promise<Pin | undefined>;
  /** Compares a device's key with its pin, and pins it when the device has none. @throws CulvertError `limit_reached` when there is no room */
  checkOrPin(name: PinnedName, fingerprint: Fingerprint): Promise<PinVerdict>;
}
