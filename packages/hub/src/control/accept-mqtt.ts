import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import type { Credentials } from '@culvert/protocol/mqtt';
import type { Clock } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';
import { type ControlProtocol, type EventSink, faultOf } from '../observe/events.ts';
import type { ChannelRegistrar } from './control-channel.ts';
import { MqttChannel } from './mqtt-channel.ts';
import { type MqttLimits, MqttLink } from './mqtt-link.ts';

/** What the MQTT doors need of the hub. */
export interface MqttDeps {
  /** Verifies what a device says it is. @throws CulvertError, which becomes the CONNACK */
  authenticate(credentials: Credentials): Promise<Principal>;
  readonly registrar: ChannelRegistrar;
  readonly clock: Clock;
  readonly onEvent: EventSink;
  readonly limits: MqttLimits;
}

/** By which door a connection came, and from where. */
export interface MqttOrigin {
  readonly remoteAddress: string;
  readonly protocol: ControlProtocol;
}

/**
 * Speaks MQTT with whoever came in on `connection`, which belongs to it from now on. Resolves true once the device has proved
 * who it is and its channel is attached, false when the connection ended before; never rejects.
 */
export async function acceptMqtt(connection: Duplex, origin: MqttOrigin, deps: MqttDeps): Promise<boolean> {
  const { protocol, remoteAddress } = origin;
  const link = new MqttLink(connection, { protocol, clock: deps.clock, limits: deps.limits });
  const principal = await authenticate(link, protocol, deps);
  if (principal === undefined || link.endedWith !== undefined) {
    reportRefusal(link.endedWith, origin, deps.onEvent);
    return false;
  }
  const connectedAt = deps.clock.now();
  const { deviceId } = principal;
  const channel = new MqttChannel(link, { ...principal, protocol, remoteAddress, connectedAt }, (changed) =>
    deps.registrar.offersChanged(changed),
  );
  void channel.closed.then((error) => {
    const connectedMs = deps.clock.now() - connectedAt;
    deps.onEvent({
      type: 'device-detached',
      deviceId,
      protocol,
      error: error.code,
      detail: error.message,
      connectedMs,
    });
  });
  deps.onEvent({
    type: 'device-attached',
    deviceId,
    principal: principal.principal.name,
    protocol,
    remoteAddress,
  });
  link.accept(principal.principal.expiresAt, channel);
  deps.registrar.attach(channel);
  link.release();
  return true;
}

async function authenticate(
  link: MqttLink,
  protocol: ControlProtocol,
  deps: MqttDeps,
): Promise<{ deviceId: string; principal: Principal } | undefined> {
  const credentials = await link.credentials();
  if (credentials === undefined) return undefined;
  try {
    return { deviceId: credentials.deviceId, principal: await deps.authenticate(credentials) };
  } catch (reason) {
    const error = CulvertError.from(reason);
    const fault = faultOf(error, protocol);
    if (fault !== undefined) deps.onEvent(fault);
    link.end(error);
    return undefined;
  }
}

/** A peer that left by itself was not refused: load balancers' probes do so all day. */
function reportRefusal(error: CulvertError | undefined, origin: MqttOrigin, onEvent: EventSink): void {
  if (error === undefined || error.code === 'device_gone') return;
  const { protocol, remoteAddress } = origin;
  onEvent({ type: 'connection-refused', door: protocol, remoteAddress, error: error.code, detail: error.message });
}
