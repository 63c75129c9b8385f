import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { destroyConnection, resetConnection } from '@culvert/stream';
import { RawWebSocket, rawFrame } from '@culvert/testkit';
import type { HubProcess } from '../hub-process.ts';
import { closeOf } from './control-channel.ts';

/** A connection that carries bytes to and from the hub's control listener. */
export interface ByteLink {
  send(bytes: Buffer): void;
  /** Resets the TCP connection. */
  drop(): void;
  readonly ended: Promise<void>;
}

/** Opens a link; `onBytes` is called with the received bytes. */
export type OpenByteLink = (hub: HubProcess, onBytes: (bytes: Buffer) => void) => Promise<ByteLink>;

/** TLS on the port of one protocol. The server name is sent although the host is an address, as the C client does. */
export const overTls =
  (port: 5671 | 8883): OpenByteLink =>
  async (hub, onBytes) => {
    const tcp = connectTcp(port, hub.host);
    const tls = connectTls({ socket: tcp, host: hub.host, servername: hub.host, ca: hub.ca });
    tcp.on('error', () => undefined);
    await once(tls, 'secureConnect');
    tls.on('error', () => undefined);
    tls.on('data', onBytes);
    return { send: (bytes) => tls.write(bytes), drop: () => resetConnection(tcp), ended: closeOf(tls) };
  };

/** WebSocket on port 443, with the subprotocol spelled as this client spells it. */
export function overWebSocket(subprotocol: string): OpenByteLink {
  return async (hub, onBytes) => {
    const url = `wss://${hub.hostName}/$iothub/websocket`;
    const socket = await RawWebSocket.connect(
      { url, token: '' },
      { ca: hub.ca, headers: { Authorization: '', 'Sec-WebSocket-Protocol': subprotocol } },
    );
    const status = await socket.answer();
    if (status !== 101) throw new Error(`the control channel's WebSocket was answered with ${status}`);
    if (!socket.head.includes(`: ${subprotocol}\r\n`) && !socket.head.endsWith(`: ${subprotocol}`))
      throw new Error(`the subprotocol ${subprotocol} was not echoed: ${socket.head}`);
    void (async () => {
      for (let frame = await socket.frame(); frame !== undefined; frame = await socket.frame()) {
        if (frame.opcode === 9) throw new Error('the hub pinged a client that did not show that it copes');
        if (frame.opcode === 8) destroyConnection(socket.socket);
        else onBytes(frame.payload);
      }
    })();
    return {
      send: (bytes) => socket.send(rawFrame(2, bytes, { mask: randomBytes(4) })),
      drop: () => socket.reset(),
      ended: socket.closed,
    };
  };
}
