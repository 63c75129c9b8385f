import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Fingerprint } from './fingerprint.ts';
import { MAX_PINS, type Pin, type PinnedName, pinKey } from './known-devices-file.ts';
import type { PinStore, PinVerdict } from './pin-store.ts';

/** Pins that live as long as the process, at most {@link MAX_PINS}. */
export class MemoryPins implements PinStore {
  readonly #pins = new Map<string, Pin>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  find(name: PinnedName): Promise<Pin | undefined> {
    return Promise.resolve(this.#pins.get(pinKey(name)));
  }

  checkOrPin(name: PinnedName, fingerprint: Fingerprint): Promise<PinVerdict> {
    const pin = this.#pins.get(pinKey(name));
    if (pin !== undefined)
      return Promise.resolve({ verdict: pin.fingerprint === fingerprint ? 'match' : 'changed', pin });
    if (this.#pins.size >= MAX_PINS)
      return Promise.reject(new CulvertError('limit_reached', `There is no room for another pin (${MAX_PINS}).`));
    this.#pins.set(pinKey(name), { ...name, fingerprint, since: new Date(this.#clock.now()).toISOString() });
    return Promise.resolve({ verdict: 'first-use' });
  }
}
