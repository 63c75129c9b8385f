import type { DeviceConnection } from '@culvert/service';
import type { Found } from './check.ts';

/**
 * Says whether streams to the device are connections of a session, which survives a lost network, or raw; and if they are raw, what stands in the way.
 * @param connection as the stream that was just opened shows it; undefined if no stream could be opened
 */
export function sessionCheck(connection: DeviceConnection | undefined): Found {
  if (connection === undefined) {
    return { found: 'not known: the device accepted no stream that would show it', warning: true };
  }
  if (connection.kind === 'session') {
    const { sessionId, version, encrypted } = connection;
    return {
      found: `streams share a session (version ${version}), ${encrypted ? 'encrypted' : 'not encrypted'} end to end`,
      data: { kind: 'session', sessionId, version, encrypted: encrypted ? 'yes' : 'no' },
    };
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

function versions({ lowest, highest }: { readonly lowest: number; readonly highest: number }): string {
  return lowest === highest ? `version ${lowest}` : `versions ${lowest} to ${highest}`;
}
