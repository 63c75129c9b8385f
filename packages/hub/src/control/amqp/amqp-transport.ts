import { AMQP_SUBPROTOCOLS } from '@culvert/protocol';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import type { ControlTransport } from '../control-transport.ts';
import { acceptAmqp } from './accept-amqp.ts';

/** AMQP 1.0. A frame may span several WebSocket messages, and a message may contain several frames. */
export const AMQP_TRANSPORT: ControlTransport = {
  name: 'amqp',
  title: 'AMQP',
  listenKey: 'amqpListen',
  subprotocols: AMQP_SUBPROTOCOLS,
  // A message is buffered until it is complete, also before authentication. Clients send one frame in each message.
  maxMessageBytes: () => AMQP_LIMITS.frameBytes,
  accept: acceptAmqp,
};
