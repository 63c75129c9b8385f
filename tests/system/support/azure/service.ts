import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { parseServiceConnectionString } from '@culvert/protocol';
import { RawWebSocket, rawFrame } from '@culvert/testkit';
import type { HubProcess } from '../hub-process.ts';
import { seconds } from '../sas.ts';
import { nodeToken } from './credentials.ts';

/** The parameters of a service's stream request, as its application passes them. */
export interface StreamWish {
  readonly deviceId: string;
  readonly moduleId?: string;
  readonly streamName: string;
  /** Seconds. */
  readonly connectTimeout: number;
  /** Seconds. */
  readonly responseTimeout: number;
}

/** An HTTP answer as received. */
export interface HttpAnswer {
  readonly status: number;
  /** Header fields, keyed by lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Returns the complete head of a request: none of these clients sends a body. */
type RequestHead = (host: string, wish: StreamWish, authorization: string) => string[];

const timeouts = ({ connectTimeout, responseTimeout }: StreamWish) => [
  `iothub-streaming-connect-timeout-in-seconds: ${connectTimeout}`,
  `iothub-streaming-response-timeout-in-seconds: ${responseTimeout}`,
];

/** `encodeURIComponent`, with the characters that it leaves unescaped escaped too. */
const strict = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);

/** The Node service client: it encodes the device id but not the stream name. */
export const NODE_SERVICE: RequestHead = (host, wish, authorization) => [
  `POST /twins/${strict(wish.deviceId)}/streams/${wish.streamName}?api-version=2018-10-20-preview HTTP/1.1`,
  ...timeouts(wish),
  `Authorization: ${authorization}`,
  `Request-Id: ${randomUUID()}`,
  'User-Agent: azure-iothub/1.10.0-preview.0',
  `Host: ${host}`,
  'Connection: keep-alive',
  'Content-Length: 0',
];

/** The C client's own end-to-end tests: nothing is encoded, and the empty body has a content type. */
export const C_SERVICE: RequestHead = (host, wish, authorization) => [
  `POST /twins/${wish.deviceId}${wish.moduleId === undefined ? '' : `/modules/${wish.moduleId}`}/streams/${wish.streamName}?api-version=2018-06-30 HTTP/1.1`,
  `Host: ${host}`,
  'Accept: */*',
  'User-Agent: iotHubClientTestHttpAgent',
  `Authorization: ${authorization}`,
  `Request-Id: ${randomUUID()}`,
  'Content-Type: application/json; charset=utf-8',
  ...timeouts(wish),
  'Content-Length: 0',
];

/** The C# service client: the timeouts are seconds with fractions. */
export const CSHARP_SERVICE: RequestHead = (host, wish, authorization) => [
  `POST /twins/${encodeURIComponent(wish.deviceId)}/streams/${wish.streamName}?api-version=2020-09-30 HTTP/1.1`,
  `Host: ${host}`,
  `Authorization: ${authorization}`,
  'User-Agent: Microsoft.Azure.Devices/1.28.0-preview-001',
  ...timeouts(wish),
  'Content-Length: 0',
];

/** Requests a stream and waits for the answer, however long the hub delays it. */
export async function requestStream(hub: HubProcess, head: RequestHead, wish: StreamWish): Promise<HttpAnswer> {
  const { key, policy } = parseServiceConnectionString(hub.policy('service'));
  const authorization = nodeToken(hub.host, key, seconds(3600), policy);
  const socket = connect({ host: hub.host, port: hub.port, ca: hub.ca });
  await once(socket, 'secureConnect');
  socket.write(`${head(hub.host, wish, authorization).join('\r\n')}\r\n\r\n`);
  try {
    let text = '';
    for await (const chunk of socket.setEncoding('utf8')) {
      text += chunk;
      const answer = parseAnswer(text);
      if (answer !== undefined) return answer;
    }
    throw new Error(`the connection ended in the middle of an answer: ${text}`);
  } finally {
    socket.destroy();
  }
}

/** Parses the answer; returns undefined until it is complete. */
function parseAnswer(text: string): HttpAnswer | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = new Map(
    lines.map((line) => [line.split(':', 1)[0]?.toLowerCase() ?? '', line.slice(line.indexOf(':') + 1).trim()]),
  );
  const body = text.slice(end + 4);
  if (Buffer.byteLength(body) < Number(headers.get('content-length') ?? 0)) return undefined;
  return { status: Number(first.split(' ')[1]), headers, body };
}

/** The service's end of a stream, as `websocket-stream` on ws 3 implements it. */
export class AzureServiceStream {
  readonly socket: RawWebSocket;

  private constructor(socket: RawWebSocket) {
    this.socket = socket;
  }

  /**
   * Connects to the gateway with the grant in an answer.
   * @param early bytes sent together with the upgrade request, before the gateway has answered
   */
  static async open(hub: HubProcess, answer: HttpAnswer, early?: Buffer): Promise<AzureServiceStream> {
    const [url, token] = [
      answer.headers.get('iothub-streaming-url'),
      answer.headers.get('iothub-streaming-auth-token'),
    ];
    if (answer.headers.get('iothub-streaming-is-accepted') !== 'True' || url === undefined || token === undefined)
      throw new Error(`not accepted: ${answer.status} ${answer.body}`);
    const { pathname, hostname } = new URL(url);
    const request = [
      `GET ${pathname} HTTP/1.1`,
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Authorization: Bearer ${token}`,
      'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
      `Host: ${hostname}:${hub.port}`,
      '\r\n',
    ].join('\r\n');
    const options = { ca: hub.ca, request, ...(early === undefined ? {} : { early: frames(early) }) };
    const stream = new AzureServiceStream(await RawWebSocket.connect({ url, token }, options));
    const status = await stream.socket.answer();
    if (status !== 101) throw new Error(`the upgrade was answered with ${status}`);
    return stream;
  }

  send(data: Buffer): void {
    this.socket.send(frames(data));
  }

  /** Returns the next `bytes` bytes, and the lengths of the frames that carried them. */
  async receive(bytes: number): Promise<{ data: Buffer; lengths: number[] }> {
    const parts: Buffer[] = [];
    let received = 0;
    while (received < bytes) {
      const frame = await this.socket.frame();
      if (frame === undefined || frame.opcode === 8)
        throw new Error(`the stream ended after ${received} of ${bytes} bytes: ${frame?.payload.toString('latin1')}`);
      parts.push(frame.payload);
      received += frame.payload.length;
    }
    return { data: Buffer.concat(parts), lengths: parts.map((part) => part.length) };
  }

  /** Closes as ws 3 does when its stream ends: with an empty Close frame. */
  end(): void {
    this.socket.send(rawFrame(8, Buffer.alloc(0), { mask: randomBytes(4) }));
  }
}

/** Bytes that Node reads at once from a pipe, and that `websocket-stream` sends as one message. */
const PIPE_BYTES = 65_536;

function frames(data: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < data.length; at += PIPE_BYTES)
    parts.push(rawFrame(2, data.subarray(at, at + PIPE_BYTES), { mask: randomBytes(4) }));
  return Buffer.concat(parts);
}
