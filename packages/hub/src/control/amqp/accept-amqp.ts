import type { Duplex } from 'node:stream';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { AmqpPeer } from './amqp-peer.ts';

/**
 * Serves AMQP 1.0 on `connection` and owns the connection from now on. Resolves true once a device or service has authenticated and is attached,
 * false when the connection ended before; never rejects.
 */
export function acceptAmqp(connection: Duplex, origin: ControlOrigin, deps: ControlDeps): Promise<boolean> {
  return new AmqpPeer(connection, origin, deps).authenticated;
}
