import { AMQP_SUBPROTOCOLS } from '@culvert/protocol';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import type { ControlTransport } from '../control-transport.ts';
import { acceptAmqp } from './accept-amqp.ts';

/** AMQP 1.0. Frames may span WebSocket messages and share them. */
export const AMQP_TRANSPORT: ControlTransport = {
  name: 'amqp',
  title: 'AMQP',
  listenKey: 'amqpListen',
  subprotocols: AMQP_SUBPROTOCOLS,
  // A message is buffered until it is whole, also before authentication. Clients put one frame into each.
  maxMessageBytes: () => AMQP_LIMITS.frameBytes,
  accept: acceptAmqp,
};
