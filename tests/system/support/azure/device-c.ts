import { randomBytes } from 'node:crypto';
import { rawFrame } from '@culvert/testkit';
import type { DeviceVariant } from './device.ts';

/**
 * The C client and its proxy sample: it opens the WebSocket before it answers, sends 64-byte frames, ends a stream by dropping the TCP connection, and answers
 * a Close with an empty Close. The subprotocol of the stream's WebSocket is named after the protocol of the control channel.
 */
export function deviceC(subprotocol: 'MQTT' | 'AMQP'): DeviceVariant {
  return {
    answersFirst: false,
    frameBytes: 64,
    greeting: Buffer.alloc(0),
    upgrade: ({ host, port, path }, token) =>
      [
        `GET ${path} HTTP/1.1`,
        `Host: ${host}:${port}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
        `Sec-WebSocket-Protocol: ${subprotocol}`,
        'Sec-WebSocket-Version: 13',
        `Authorization: Bearer ${token}`,
        '\r\n',
      ].join('\r\n'),
    end: ({ socket }) => socket.destroySoon(),
    closeAnswer: rawFrame(8, Buffer.alloc(0), { mask: randomBytes(4) }),
  };
}
