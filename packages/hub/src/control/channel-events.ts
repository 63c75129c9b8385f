import type { AuthenticationType, CulvertError, Identity } from '@culvert/protocol';
import type { Proof } from '../auth/principal.ts';
import type { EventSink } from '../observe/events.ts';
import type { ControlChannel, ControlDeps, ControlOrigin } from './control-channel.ts';

/** How an identity that proved itself so is registered. */
const AUTHENTICATION: Readonly<Record<Proof['kind'], AuthenticationType>> = {
  key: 'sas',
  thumbprint: 'selfSigned',
  authority: 'certificateAuthority',
};

/** Tells that a device is attached by `channel`, and, when that ends, why. */
export function reportChannel(
  channel: ControlChannel,
  { clock, onEvent }: Pick<ControlDeps, 'clock' | 'onEvent'>,
): void {
  const { identity, protocol, remoteAddress, connectedAt } = channel;
  const authentication = AUTHENTICATION[channel.principal.proof.kind];
  const origin = { protocol, remoteAddress, principal: channel.principal.name, authentication };
  channel.unanswered.onChange((now, before) => {
    if (now === undefined) {
      const { since, count } = before ?? { since: clock.now(), count: 0 };
      onEvent({ type: 'device-responsive', ...identity, since: new Date(since).toISOString(), unanswered: count });
    } else if (isPowerOfTwo(now.count)) {
      const { clientVersion } = channel;
      const about = { ...origin, clientVersion, since: new Date(now.since).toISOString(), unanswered: now.count };
      onEvent({ type: 'device-unresponsive', ...identity, ...about });
    }
  });
  void channel.closed.then(({ code, message }) => {
    const connectedMs = clock.now() - connectedAt;
    const about = { ...origin, clientVersion: channel.clientVersion };
    onEvent({ type: 'device-detached', ...identity, ...about, error: code, detail: message, connectedMs });
  });
  onEvent({ type: 'device-attached', ...identity, ...origin, clientVersion: channel.clientVersion });
}

/** Told at 1, 2, 4, 8 …, so that the log of a device that never answers grows more slowly than the requests for it. */
function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

/**
 * Tells that a connection was refused. A peer that left by itself was not: load balancers' probes do so all day.
 * @param claimed who the peer said it is, where it came to say so
 */
export function reportRefusal(
  error: CulvertError | undefined,
  { protocol, remoteAddress }: ControlOrigin,
  onEvent: EventSink,
  claimed?: Identity,
): void {
  if (error === undefined || error.code === 'device_gone') return;
  const { code, message } = error;
  const who = claimed === undefined ? {} : { claimed };
  onEvent({ type: 'connection-refused', listener: protocol, remoteAddress, error: code, detail: message, ...who });
}
