import type { AuthenticationType, CulvertError, Identity } from '@culvert/protocol';
import type { Proof } from '../auth/principal.ts';
import type { EventSink } from '../observe/events.ts';
import type { ControlChannel, ControlDeps, ControlOrigin } from './control-channel.ts';

/** The registered authentication type of an identity, by the kind of proof it authenticated with. */
const AUTHENTICATION: Readonly<Record<Proof['kind'], AuthenticationType>> = {
  key: 'sas',
  thumbprint: 'selfSigned',
  authority: 'certificateAuthority',
};

/**
 * Emits the events of a channel: attached at once, unresponsive and responsive as the device stops and resumes answering, detached with the reason when
 * the channel ends.
 */
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

/** An unresponsive device is reported at 1, 2, 4, 8 … unanswered offers, so that its log grows more slowly than the number of requests. */
function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

/**
 * Emits the event of a refused connection. A client that closed the connection itself was not refused: the probes of load balancers do so all day.
 * @param claimed the identity that the client claimed, if it sent one
 */
export function reportRefusal(
  error: CulvertError | undefined,
  { protocol, remoteAddress }: ControlOrigin,
  onEvent: EventSink,
  claimed?: Identity,
): void {
  if (error === undefined || error.code === 'device_gone') return;
  const { code, message } = error;
  const claim = claimed === undefined ? {} : { claimed };
  onEvent({ type: 'connection-refused', listener: protocol, remoteAddress, error: code, detail: message, ...claim });
}
