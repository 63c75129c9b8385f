import type { Duplex } from 'node:stream';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import { AmqpPeer } from './amqp-peer.ts';

/**
 * Speaks AMQP 1.0 with whoever came in on `connection`, which belongs to it from now on. Resolves true once a device has proved who
 * it is and its channel is attached, false when the connection ended before; never rejects.
 */
export function acceptAmqp(connection: Duplex, origin: ControlOrigin, deps: ControlDeps): Promise<boolean> {
  return new AmqpPeer(connection, origin, deps).authenticated;
}
