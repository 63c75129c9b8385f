import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import type { Grant } from '@culvert/protocol/grant';
import { resetConnection } from '@culvert/stream';

/** One frame that the server sent. */
export interface RawFrame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

export interface RawWebSocketOptions {
  readonly ca: string;
  readonly headers?: Record<string, string>;
  /** The whole upgrade request, sent instead of a correct one. */
  readonly request?: Buffer | string;
  /** Bytes to send in the same write as the request. */
  readonly early?: Buffer;
}

/** A WebSocket client over TLS that sends exactly the bytes a test gives it. It answers no frames and checks nothing. */
export class RawWebSocket {
  readonly socket: TLSSocket;
  readonly #tcp: Socket;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  /** The head of the response to the upgrade; empty before {@link answer} has resolved. */
  head = '';
  #input: Buffer = Buffer.alloc(0);
  #ended = false;
  readonly #waiting = new Set<() => void>();

  constructor(socket: TLSSocket, tcp: Socket) {
    this.socket = socket;
    this.#tcp = tcp;
    tcp.on('error', () => undefined);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#ended = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** Connects and sends the upgrade request for a grant. */
  static async connect(grant: Grant, options: RawWebSocketOptions): Promise<RawWebSocket> {
    const url = new URL(grant.url);
    const tcp = connectTcp(portOf(url), url.hostname);
    const socket = connect({ socket: tcp, host: url.hostname, ca: options.ca });
    const client = new RawWebSocket(socket, tcp);
    await once(socket, 'secureConnect');
    // Wait until the TLS handshake's callbacks have returned, because the test may destroy the connection next: see `destroyConnection`.
    await nextTurn();
    const request = options.request ?? upgradeRequest(grant, options.headers);
    socket.write(Buffer.concat([Buffer.from(request), options.early ?? Buffer.alloc(0)]));
    return client;
  }

  /** Connects as {@link connect} does, and waits for the response. */
  static async open(grant: Grant, options: RawWebSocketOptions): Promise<RawWebSocket> {
    const client = await RawWebSocket.connect(grant, options);
    await client.answer();
    return client;
  }

  /** Resolves with the status of the response to the upgrade; undefined if the connection ended without a response. */
  async answer(): Promise<number | undefined> {
    await this.#until(() => this.#input.includes('\r\n\r\n') || this.#ended);
    const end = this.#input.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    this.head = this.#input.subarray(0, end).toString('latin1');
    this.#input = this.#input.subarray(end + 4);
    return Number(this.head.split(' ')[1]);
  }

  /** Resolves with the next frame; undefined if the connection ended before a frame was complete. */
  async frame(): Promise<RawFrame | undefined> {
    let frame: RawFrame | undefined;
    await this.#until(() => {
      frame = this.#take();
      return frame !== undefined || this.#ended;
    });
    return frame;
  }

  /** Resolves with code and reason of the next close frame, and skips other frames; undefined if the connection ends without a close frame. */
  async close(): Promise<{ code: number; reason: string } | undefined> {
    for (let frame = await this.frame(); frame !== undefined; frame = await this.frame()) {
      if (frame.opcode !== 8) continue;
      if (frame.payload.length < 2) return { code: 0, reason: '' };
      return { code: frame.payload.readUInt16BE(0), reason: frame.payload.toString('utf8', 2) };
    }
    return undefined;
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Resets the TCP connection instead of ending it, as if the client's machine had crashed. */
  reset(): void {
    resetConnection(this.#tcp);
  }

  #take(): RawFrame | undefined {
    const input = this.#input;
    if (input.length < 2) return undefined;
    let length = (input[1] as number) & 0x7f;
    let at = 2;
    if (length === 126) {
      if (input.length < 4) return undefined;
      length = input.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (input.length < 10) return undefined;
      length = Number(input.readBigUInt64BE(2));
      at = 10;
    }
    if (input.length < at + length) return undefined;
    this.#input = input.subarray(at + length);
    const first = input[0] as number;
    return { fin: first >= 0x80, opcode: first & 0x0f, payload: Buffer.from(input.subarray(at, at + length)) };
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }
}

/** Returns the port of a grant's URL. `URL` removes the default port of the scheme, although a grant always contains the port. */
function portOf(url: URL): number {
  return url.port === '' ? 443 : Number(url.port);
}

/** Creates a correct upgrade request. @param headers headers to add or replace; a header with an empty value is left out */
export function upgradeRequest(grant: Grant, headers: Record<string, string> = {}): string {
  const url = new URL(grant.url);
  const all: Record<string, string> = {
    Host: `${url.hostname}:${portOf(url)}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    Authorization: `Bearer ${grant.token}`,
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== '');
  return [`GET ${url.pathname} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n');
}

export interface RawFrameOptions {
  readonly fin?: boolean;
  /** The masking key; null sends the frame unmasked, which clients must not do. */
  readonly mask?: Buffer | null;
  /** The length to declare instead of the actual length of the payload. */
  readonly declare?: number;
  /** Reserved bits to set, at their positions in the first byte. */
  readonly rsv?: number;
}

/** Creates a frame of a client. */
export function rawFrame(opcode: number, payload: Uint8Array | string, options: RawFrameOptions = {}): Buffer {
  const { fin = true, mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]), rsv = 0 } = options;
  const data = Buffer.from(payload);
  const length = options.declare ?? data.length;
  const masked = mask === null ? 0 : 0x80;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = (fin ? 0x80 : 0) | rsv | opcode;
  if (length < 126) {
    header[1] = masked | length;
  } else if (length < 65_536) {
    header[1] = masked | 126;
    header.writeUInt16BE(length, 2);
  } else {
    header[1] = masked | 127;
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  if (mask === null) return Buffer.concat([header, data]);
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) ^ (mask[i & 3] as number);
  return Buffer.concat([header, mask, data]);
}

/** Creates a close frame of a client. */
export function rawClose(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2);
  return rawFrame(8, payload);
}
