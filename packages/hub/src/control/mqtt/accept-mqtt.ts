import type { Duplex } from 'node:stream';
import { CulvertError, type Identity } from '@culvert/protocol';
import type { Credentials } from '@culvert/protocol/mqtt';
import type { Principal } from '../../auth/principal.ts';
import { faultOf } from '../../observe/events.ts';
import { reportChannel, reportRefusal } from '../channel-events.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { MqttChannel } from './mqtt-channel.ts';
import { MqttLink } from './mqtt-link.ts';

/**
 * Serves an MQTT client on `connection`, and from now on owns the connection. Resolves true once the device has authenticated and its channel is
 * attached, false if the connection ended before. Never rejects.
 */
export async function acceptMqtt(connection: Duplex, origin: ControlOrigin, deps: ControlDeps): Promise<boolean> {
  const { protocol, remoteAddress } = origin;
  const link = new MqttLink(connection, { protocol, clock: deps.clock, limits: deps.limits });
  const credentials = await link.credentials();
  const authenticated = credentials === undefined ? undefined : await authenticate(link, credentials, origin, deps);
  if (authenticated === undefined || link.endedWith !== undefined) {
    reportRefusal(link.endedWith, origin, deps.onEvent, credentials?.identity);
    return false;
  }
  const connectedAt = deps.clock.now();
  const { clientVersion, sshHostKeys, announcement } = credentials ?? {};
  const about = { ...authenticated, protocol, remoteAddress, connectedAt, clientVersion, sshHostKeys, announcement };
  const onOffersChanged = (changed: MqttChannel) => deps.registrar.offersChanged(changed);
  const channel = new MqttChannel(link, about, { ...deps, onOffersChanged });
  reportChannel(channel, deps);
  link.accept(authenticated.principal.expiresAt, channel);
  deps.registrar.attach(channel);
  link.release();
  return true;
}

async function authenticate(
  link: MqttLink,
  { identity, password: token }: Credentials,
  { protocol, certificate, certificateAsked }: ControlOrigin,
  deps: ControlDeps,
): Promise<{ identity: Identity; principal: Principal } | undefined> {
  try {
    return { identity, principal: await deps.authenticate({ identity, token, certificate, certificateAsked }) };
  } catch (reason) {
    const error = CulvertError.from(reason);
    const fault = faultOf(error, protocol);
    if (fault !== undefined) deps.onEvent(fault);
    link.end(error);
    return undefined;
  }
}
