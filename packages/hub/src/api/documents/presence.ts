import type { Identity, LastDisconnectView, PresenceView, UnansweredView } from '@culvert/protocol';
import type { ControlChannel } from '../../control/control-channel.ts';
import type { LastDisconnect } from '../../observe/last-disconnect.ts';
import { isoTime } from './stream.ts';

/** Whether an identity is online, from its live channel, and its last disconnect, if one is recorded. */
export function presenceView(
  identity: Identity,
  channel: ControlChannel | undefined,
  known: { readonly streams: number; readonly last: LastDisconnect | undefined },
): PresenceView {
  const last = known.last === undefined ? null : lastView(known.last);
  return {
    deviceId: identity.deviceId,
    moduleId: identity.moduleId ?? null,
    online: channel !== undefined,
    since: channel === undefined ? (last?.at ?? null) : isoTime(channel.connectedAt),
    protocol: channel?.protocol ?? null,
    address: channel?.remoteAddress ?? null,
    principal: channel?.principal.name ?? null,
    takesOffers: channel?.takesOffers ?? false,
    unanswered: unansweredView(channel) ?? null,
    streams: known.streams,
    last,
  };
}

/** The offers that the device has left unanswered on its live channel; undefined when there are none. */
export function unansweredView(channel: ControlChannel | undefined): UnansweredView | undefined {
  const unanswered = channel?.unanswered.now;
  return unanswered && { since: isoTime(unanswered.since), count: unanswered.count };
}

function lastView({ at, error, detail, protocol }: LastDisconnect): LastDisconnectView {
  return { at: isoTime(at), error, detail, protocol };
}
