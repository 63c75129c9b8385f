import type { CulvertError } from '@culvert/protocol';
import type { EventSink } from '../observe/events.ts';
import type { ControlChannel, ControlDeps, ControlOrigin } from './control-channel.ts';

/** Tells that a device is attached by `channel`, and, when that ends, why. */
export function reportChannel(
  channel: ControlChannel,
  { clock, onEvent }: Pick<ControlDeps, 'clock' | 'onEvent'>,
): void {
  const { identity, principal, protocol, remoteAddress, connectedAt } = channel;
  void channel.closed.then(({ code, message }) => {
    const connectedMs = clock.now() - connectedAt;
    onEvent({ type: 'device-detached', ...identity, protocol, error: code, detail: message, connectedMs });
  });
  onEvent({ type: 'device-attached', ...identity, principal: principal.name, protocol, remoteAddress });
}

/** Tells that a connection was refused. A peer that left by itself was not: load balancers' probes do so all day. */
export function reportRefusal(error: CulvertError | undefined, origin: ControlOrigin, onEvent: EventSink): void {
  if (error === undefined || error.code === 'device_gone') return;
  const { protocol, remoteAddress } = origin;
  onEvent({ type: 'connection-refused', door: protocol, remoteAddress, error: error.code, detail: error.message });
}
