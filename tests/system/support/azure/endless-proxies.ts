import { randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { type RawWebSocket, rawFrame } from '@culvert/testkit';
import type { Cleanup } from '../cleanup.ts';
import { listenLocally } from '../free-port.ts';
import type { HubProcess } from '../hub-process.ts';
import type { DeviceVariant } from './device.ts';
import { DEVICE_CSHARP } from './device-csharp.ts';
import { AzureServiceStream, CSHARP_SERVICE, requestStream } from './service.ts';

/** Empty messages per turn of the event loop: many times the number that ends a direction, in little time. */
const PER_TURN = 32;

/** Sends empty messages until the connection has ended, as the C# proxies do in their read loop after the end of their input. */
function sendEmptyMessages(socket: RawWebSocket): void {
  const turn = (): void => {
    if (!socket.socket.writable) return;
    for (let i = 0; i < PER_TURN; i++) socket.send(rawFrame(2, '', { mask: randomBytes(4) }));
    // The real proxy waits for each send, so a gateway that reads slowly slows it down.
    if (socket.socket.writableNeedDrain) socket.socket.once('drain', turn);
    else setImmediate(turn);
  };
  turn();
}

/** The device proxy of the C# SDK: it never ends a stream, and does not answer a received close frame with one of its own. */
export const ENDLESS_DEVICE: DeviceVariant = {
  ...DEVICE_CSHARP,
  // The unsolicited pong that .NET sends is irrelevant for these tests.
  greeting: Buffer.alloc(0),
  end: sendEmptyMessages,
  closeAnswer: Buffer.alloc(0),
};

/** Starts the service proxy of the C# SDK on a local port, and returns that port. Like the device proxy, it never ends a stream. */
export function startEndlessService(cleanup: Cleanup, hub: HubProcess, deviceId: string): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (local) => {
    relay(local, hub, deviceId).catch(() => local.destroy());
  });
  return listenLocally(cleanup, server);
}

async function relay(local: Socket, hub: HubProcess, deviceId: string): Promise<void> {
  local.on('error', () => undefined);
  const wish = { deviceId, streamName: 'TestStream', connectTimeout: 30, responseTimeout: 30 };
  const stream = await AzureServiceStream.open(hub, await requestStream(hub, CSHARP_SERVICE, wish));
  const { socket } = stream;
  local.on('data', (data: Buffer) => stream.send(data));
  local.on('end', () => sendEmptyMessages(socket));
  for (let frame = await socket.frame(); frame !== undefined && frame.opcode !== 8; frame = await socket.frame()) {
    local.write(frame.payload);
  }
  // The C# proxy disposes of both sockets without a close frame.
  local.destroySoon();
  socket.socket.destroySoon();
}
