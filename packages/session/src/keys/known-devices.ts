import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { Fingerprint } from './fingerprint.ts';
import {
  describePinned,
  formatPin,
  type KnownDevicesLine,
  MAX_PINS,
  type Pin,
  type PinnedName,
  parseKnownDevices,
  pinKey,
} from './known-devices-file.ts';
import type { PinStore, PinVerdict } from './pin-store.ts';
import { readTextFile, updatePrivateFile } from './private-file.ts';

/** Maximum bytes of the file: {@link MAX_PINS} of the usual length, and comments. */
const MAX_BYTES = 4_194_304;

/**
 * The keys of devices that the service side knows, in a text file (`known_devices`): what `culvert trust` shows and changes. Every method reads the file
 * again, so that programs which run at the same time agree. All methods throw CulvertError `config_invalid` when the file cannot be read or written.
 */
export class KnownDevices implements PinStore {
  readonly #path: string;
  readonly #clock: Clock;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** All pins, in the order of the file. */
  async list(): Promise<Pin[]> {
    const text = await readTextFile(this.#path, MAX_BYTES);
    return parseKnownDevices(text ?? '', this.#path).flatMap(({ pin }) => pin ?? []);
  }

  /** The pin of a device; undefined when it has none. */
  async find(name: PinnedName): Promise<Pin | undefined> {
    return (await this.list()).find((pin) => pinKey(pin) === pinKey(name));
  }

  /** Compares a device's key with its pin. Changes nothing. */
  async check(name: PinnedName, fingerprint: Fingerprint): Promise<PinVerdict> {
    return judge(await this.find(name), fingerprint);
  }

  /**
   * Compares a device's key with its pin, and pins it when the device has none. If two programs do so at the same time with different keys, one gets
   * `first-use` and the other `changed`.
   * @throws CulvertError `limit_reached` when the file has no room for another pin
   */
  async checkOrPin(name: PinnedName, fingerprint: Fingerprint): Promise<PinVerdict> {
    const found = await this.check(name, fingerprint);
    if (found.verdict !== 'first-use') return found;
    let verdict: PinVerdict = found;
    await this.#update((lines) => {
      verdict = judge(pinOf(lines, name), fingerprint);
      return verdict.verdict === 'first-use' ? [...lines, this.#line(name, fingerprint)] : undefined;
    });
    return verdict;
  }

  /**
   * Pins a key that the user has got from elsewhere. Replaces the device's pin.
   * @returns the pin that was replaced; undefined when there was none
   * @throws CulvertError `limit_reached` when the file has no room for another pin
   */
  async add(name: PinnedName, fingerprint: Fingerprint): Promise<Pin | undefined> {
    let replaced: Pin | undefined;
    await this.#update((lines) => {
      replaced = pinOf(lines, name);
      if (replaced?.fingerprint === fingerprint) return undefined;
      return [...without(lines, name), this.#line(name, fingerprint)];
    });
    return replaced;
  }

  /**
   * Removes the pin of a device: its next key is accepted and pinned.
   * @returns the removed pin; undefined when there was none
   */
  async forget(name: PinnedName): Promise<Pin | undefined> {
    let removed: Pin | undefined;
    await this.#update((lines) => {
      removed = pinOf(lines, name);
      return removed === undefined ? undefined : without(lines, name);
    });
    return removed;
  }

  /** @param change returns the new lines, or undefined to leave the file as it is */
  async #update(change: (lines: readonly KnownDevicesLine[]) => KnownDevicesLine[] | undefined): Promise<void> {
    const limits = { maxBytes: MAX_BYTES, clock: this.#clock };
    await updatePrivateFile(this.#path, limits, (text) => {
      const lines = change(parseKnownDevices(text ?? '', this.#path));
      if (lines === undefined) return undefined;
      const result = lines.map((line) => `${line.text}\n`).join('');
      if (lines.filter(({ pin }) => pin).length > MAX_PINS || Buffer.byteLength(result) > MAX_BYTES)
        throw new CulvertError('limit_reached', `${this.#path} is full (${MAX_PINS} pins): forget some first.`);
      return result;
    });
  }

  #line(name: PinnedName, fingerprint: Fingerprint): KnownDevicesLine {
    const pin = { ...name, fingerprint, since: new Date(this.#clock.now()).toISOString() };
    return { text: formatPin(pin), pin };
  }
}

/** The error for a device that has another key than the pinned one. */
export function keyChanged(pin: Pin, fingerprint: Fingerprint): CulvertError {
  return new CulvertError(
    'key_changed',
    `THE KEY OF ${describePinned(pin)} HAS CHANGED: pinned ${pin.fingerprint} since ${pin.since}, now ${fingerprint}. Somebody may be in between, or the device was set up again. ` +
      `Nothing was sent. Ask who runs the device for its fingerprint; if it is the new one, run: culvert trust forget ${trustArguments(pin)}`,
  );
}

/** The arguments of `culvert trust` that name a pin. */
function trustArguments({ hub, deviceId, moduleId }: PinnedName): string {
  const module = moduleId === undefined ? [] : [`--module=${moduleId}`];
  return [`--hub=${hub}`, ...module, deviceId].map(quoted).join(' ');
}

/** Ids may hold characters that are special to a shell; none of them is a single quote inside single quotes, except that one. */
function quoted(word: string): string {
  return /^[\w.:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function judge(pin: Pin | undefined, fingerprint: Fingerprint): PinVerdict {
  if (pin === undefined) return { verdict: 'first-use' };
  return { verdict: pin.fingerprint === fingerprint ? 'match' : 'changed', pin };
}

function pinOf(lines: readonly KnownDevicesLine[], name: PinnedName): Pin | undefined {
  return lines.find(({ pin }) => pin !== undefined && pinKey(pin) === pinKey(name))?.pin;
}

function without(lines: readonly KnownDevicesLine[], name: PinnedName): KnownDevicesLine[] {
  return lines.filter(({ pin }) => pin === undefined || pinKey(pin) !== pinKey(name));
}
