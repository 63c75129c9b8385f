import { CulvertError, identityName, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';
import { type Fingerprint, parseFingerprint } from './fingerprint.ts';

/** Maximum pins in a file, so that it can be read at once: about 1.5 MB. */
export const MAX_PINS = 10_000;

/** The device or module that a pin belongs to: a device of another hub with the same id is another device. */
export interface PinnedName {
  /** The hub as in connection strings: `hub.example.com`, with a port other than 443 `hub.example.com:8443`. */
  readonly hub: string;
  readonly deviceId: string;
  /** Absent for the device itself. */
  readonly moduleId?: string | undefined;
}

/** One pin: the key by which the service side recognises a device. */
export interface Pin extends PinnedName {
  readonly fingerprint: Fingerprint;
  /** When it was pinned, ISO 8601 in UTC. */
  readonly since: string;
}

/** A line of the file; comments and blank lines are kept when the file is written again. */
export type KnownDevicesLine = { readonly text: string; readonly pin?: Pin };

/** The key of a pin: names that differ only in the case of the hub's name are equal. */
export function pinKey({ hub, ...identity }: PinnedName): string {
  return `${hub.toLowerCase()} ${identityName(identity)}`;
}

/** `press-7 at hub.example.com`, for messages. */
export function describePinned({ hub, ...identity }: PinnedName): string {
  return `${identityName(identity)} at ${hub}`;
}

/**
 * The line of a pin: `HUB DEVICE[/MODULE] FINGERPRINT SINCE`.
 * @throws CulvertError `argument_invalid` for a name that could not be read from the line again
 */
export function formatPin(pin: Pin): string {
  const line = `${pinKey(pin)} ${pin.fingerprint} ${pin.since}`;
  if (parsePin(line) !== undefined) return line;
  throw new CulvertError('argument_invalid', `This is not the name of a hub and a device: ${printable(pinKey(pin))}`);
}

/**
 * Parses a file of pins. A line that cannot be read is an error: if it were ignored, its device would be unknown, and the next key would be accepted.
 * @throws CulvertError `config_invalid`, which names the line
 */
export function parseKnownDevices(text: string, where: string): KnownDevicesLine[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  const numbers = new Map<string, number>();
  return lines.map((line, index) => {
    const number = index + 1;
    if (line.trim() === '' || line.startsWith('#')) return { text: line };
    const pin = parsePin(line);
    if (pin === undefined)
      throw new CulvertError(
        'config_invalid',
        `Line ${number} of ${where} is not HUB DEVICE[/MODULE] FINGERPRINT TIME: ${printable(line, 80)}. Correct or delete it.`,
      );
    const earlier = numbers.get(pinKey(pin));
    if (earlier !== undefined)
      throw new CulvertError(
        'config_invalid',
        `Lines ${earlier} and ${number} of ${where} name the same device: delete the wrong one.`,
      );
    numbers.set(pinKey(pin), number);
    if (numbers.size > MAX_PINS) throw new CulvertError('config_invalid', `${where} has more than ${MAX_PINS} pins.`);
    return { text: line, pin };
  });
}

function parsePin(line: string): Pin | undefined {
  const [hub = '', name = '', fingerprint = '', since = '', ...more] = line.trim().split(/[ \t]+/);
  const [deviceId = '', moduleId, ...rest] = name.split('/');
  if (hub.startsWith('#') || more.length > 0 || rest.length > 0 || Number.isNaN(Date.parse(since))) return undefined;
  try {
    return {
      hub: hub.toLowerCase(),
      deviceId: parseDeviceId(deviceId),
      ...(moduleId === undefined ? {} : { moduleId: parseModuleId(moduleId) }),
      fingerprint: parseFingerprint(fingerprint),
      since,
    };
  } catch {
    return undefined;
  }
}
