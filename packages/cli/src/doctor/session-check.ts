import type { DeviceConnection } from '@culvert/service';
import type { Fingerprint, Pin } from '@culvert/session/keys';
import type { Found } from './check.ts';

/**
 * Says whether streams to the device are connections of a session, which survives a lost network, or raw; and if they are raw, what stands in the way.
 * @param connection as the stream that was just opened shows it; undefined if no stream could be opened
 * @param pin the key of the device that this user has pinned; undefined if there is none
 */
export function sessionCheck(connection: DeviceConnection | undefined, pin?: Pin): Found {
  if (connection === undefined) {
    return { found: 'not known: the device accepted no stream that would show it', warning: true };
  }
  if (connection.kind === 'session') {
    const { sessionId, version, encrypted, deviceKey } = connection;
    const share = `streams share a session (version ${version})`;
    const data = { kind: 'session', sessionId, version, encrypted: encrypted ? 'yes' : 'no' };
    if (!encrypted || deviceKey === undefined) return { ...unencrypted(share, pin), data };
    return { ...recognised(`${share}, encrypted end to end`, deviceKey, pin), data: { ...data, deviceKey } };
  }
  const { reason } = connection;
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

/** A session without encryption, which is refused to other commands if the device's key is known. */
function unencrypted(share: string, pin: Pin | undefined): Found {
  const found = `${share}, not encrypted end to end`;
  if (pin === undefined) return { found };
  return {
    found: `${found}, although the key ${pin.fingerprint} of the device is pinned`,
    warning: true,
    advice: `${REFUSED} Was the program on the device replaced, or its key removed? If the hub strips encryption, do not go on.`,
  };
}

function recognised(encrypted: string, deviceKey: Fingerprint, pin: Pin | undefined): Found {
  if (pin === undefined) return { found: `${encrypted}; the key of the device, ${deviceKey}, is not pinned yet` };
  if (pin.fingerprint === deviceKey)
    return { found: `${encrypted}; the key of the device, ${deviceKey}, is pinned since ${pin.since}` };
  return {
    found: `${encrypted}, but the key of the device is ${deviceKey}, and ${pin.fingerprint} is pinned`,
    warning: true,
    advice: `${REFUSED} Ask on the device whether its key was changed (its agent prints it at its start); then culvert trust forget.`,
  };
}

const REFUSED = 'Other commands do not connect to it.';

function versions({ lowest, highest }: { readonly lowest: number; readonly highest: number }): string {
  return lowest === highest ? `version ${lowest}` : `versions ${lowest} to ${highest}`;
}
