import { CulvertError } from '@culvert/protocol';
import type { DeviceConnection, RawReason } from '@culvert/service';
import type { Fingerprint, Pin } from '@culvert/session/keys';
import type { Found } from './check.ts';

/**
 * Says whether streams to the device are connections of a session, which survives a lost network, or raw; and if they are raw, what stands in the way.
 * @param connection as the stream that was just opened shows it; undefined if no stream could be opened
 * @param pin the key of the device that this user has pinned; undefined if there is none
 * @throws CulvertError `key_changed`, `encryption_required`: the other commands refuse the device, because of the pin
 */
export function sessionCheck(connection: DeviceConnection | undefined, pin?: Pin): Found {
  if (connection === undefined) {
    return { found: 'not known: the device accepted no stream that would show it', warning: true };
  }
  if (connection.kind === 'session') {
    const { sessionId, version, encrypted, deviceKey } = connection;
    const share = `streams share a session (version ${version})`;
    const data = { kind: 'session', sessionId, version, encrypted: encrypted ? 'yes' : 'no' };
    if (encrypted && deviceKey !== undefined)
      return { found: recognised(`${share}, encrypted end to end`, deviceKey, pin), data: { ...data, deviceKey } };
    return withoutEncryption({ found: `${share}, not encrypted end to end`, advice: NO_KEY, warning: true, data }, pin);
  }
  return withoutEncryption(rawCheck(connection.reason), pin);
}

/** The device has no encryption: a warning, or refused by the other commands if its key is known. */
function withoutEncryption(found: Found & { readonly advice: string }, pin: Pin | undefined): Found {
  if (pin === undefined) return found;
  const text = `${found.found}, and the key ${pin.fingerprint} of the device is pinned, so other commands do not connect to it without --allow-unencrypted. ${found.advice} If nothing was changed there, the hub may leave encryption out.`;
  throw new CulvertError('encryption_required', text);
}

const NO_KEY =
  'The device has no key: its agent says why at its start; a program with the device SDK needs session.key.';

function rawCheck(reason: RawReason): Found & { readonly advice: string } {
  const raw = { warning: true, data: { kind: 'raw', reason: reason.why } };
  switch (reason.why) {
    case 'hub_too_old':
      return { ...raw, found: 'raw streams: the hub is too old for sessions', advice: 'Update the hub.' };
    case 'not_announced':
      return {
        ...raw,
        found: 'raw streams: the device offers no sessions',
        advice: 'Update its agent; a program with the device SDK may have turned them off (session: false).',
      };
    case 'versions':
      return {
        ...raw,
        found: `raw streams: the device knows only ${versions(reason)} of the session, which this program does not`,
        advice: 'Update the older one of the two.',
      };
    case 'declined':
      return {
        ...raw,
        found: 'raw streams: the device offers sessions, but answered without one',
        advice: 'Look into the log of the program on the device.',
      };
  }
}

function recognised(encrypted: string, deviceKey: Fingerprint, pin: Pin | undefined): string {
  if (pin === undefined) return `${encrypted}; the key of the device, ${deviceKey}, is not pinned yet`;
  if (pin.fingerprint === deviceKey)
    return `${encrypted}; the key of the device, ${deviceKey}, is pinned since ${pin.since}`;
  const text = `${encrypted}, but the key of the device is ${deviceKey}, and ${pin.fingerprint} is pinned, so other commands do not connect to it. Ask whoever runs the device for the fingerprint that its agent prints at its start; if it is the new one: culvert trust forget, or trust add.`;
  throw new CulvertError('key_changed', text);
}

function versions({ lowest, highest }: { readonly lowest: number; readonly highest: number }): string {
  return lowest === highest ? `version ${lowest}` : `versions ${lowest} to ${highest}`;
}
