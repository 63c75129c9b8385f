import { randomBytes } from 'node:crypto';
import { rawClose, rawFrame } from '@culvert/testkit';
import type { DeviceVariant } from './device.ts';

/** The C# client: it answers before it opens the WebSocket, sends frames of its 10,240-byte buffer and unsolicited pongs, and ends with Close 1000. */
export const DEVICE_CSHARP: DeviceVariant = {
  answersFirst: true,
  frameBytes: 10_240,
  greeting: rawFrame(10, Buffer.alloc(0), { mask: randomBytes(4) }),
  upgrade: ({ host, port, path }, token) =>
    [
      `GET ${path} HTTP/1.1`,
      `Host: ${host}:${port}`,
      `Authorization: Bearer ${token}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      '\r\n',
    ].join('\r\n'),
  end: (socket) => socket.send(rawClose(1000)),
  closeAnswer: rawClose(1000),
};
