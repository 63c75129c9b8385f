import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type OfferTopic, parseOfferTopic, STREAM_HEADERS, streamRequestPath } from '@culvert/protocol';
import { encodePacket } from '@culvert/protocol/mqtt';
import type { Cleanup } from './cleanup.ts';
import type { HubProcess } from './hub-process.ts';
import { connectMqttJs } from './mqtt-js.ts';
import { mqttCredentials } from './sas.ts';

/** The URL and token of one side, as received on the wire. */
export interface RawGrant {
  readonly url: string;
  readonly token: string;
}

/** The grants of both sides of one accepted handshake, both unused. */
export interface RawHandshake {
  readonly device: RawGrant;
  readonly service: RawGrant;
}

/** A device that accepts every offer and does not connect to the gateway: the test can use the grants itself. */
export class IdleDevice {
  readonly #offers: OfferTopic[] = [];

  readonly #hub: HubProcess;
  readonly #deviceId: string;
  readonly #authorization: () => Promise<string>;

  private constructor(hub: HubProcess, deviceId: string, authorization: () => Promise<string>) {
    this.#hub = hub;
    this.#deviceId = deviceId;
    this.#authorization = authorization;
  }

  /** @param authorization returns the `Authorization` header of the stream requests */
  static async attach(
    cleanup: Cleanup,
    hub: HubProcess,
    deviceId: string,
    authorization: () => Promise<string>,
  ): Promise<IdleDevice> {
    const device = new IdleDevice(hub, deviceId, authorization);
    const credentials = await mqttCredentials(await hub.createDevice(deviceId));
    const client = await connectMqttJs(cleanup, hub, credentials);
    client.on('message', (topic) => {
      const offer = parseOfferTopic(topic);
      if (offer === undefined) return;
      device.#offers.push(offer);
      client.publish(`$iothub/streams/res/200/?$rid=${offer.requestId}`, '');
    });
    await client.subscribeAsync('$iothub/streams/POST/#');
    return device;
  }

  /** Requests a stream and returns both grants. */
  async handshake(): Promise<RawHandshake> {
    const hub = this.#hub;
    const headers = { authorization: await this.#authorization() };
    const call = request({
      ...{ host: '127.0.0.1', port: hub.port, ca: hub.ca, agent: false, method: 'POST', headers },
      path: streamRequestPath({ deviceId: this.#deviceId }, 'x'),
    }).end();
    const [answer] = await once(call, 'response');
    answer.resume();
    const offer = this.#offers.pop();
    const url = answer.headers[STREAM_HEADERS.url];
    const token = answer.headers[STREAM_HEADERS.token];
    if (offer === undefined || typeof url !== 'string' || typeof token !== 'string') {
      throw new Error(`the request for a stream was answered with ${answer.statusCode}`);
    }
    return { device: { url: offer.url, token: offer.token }, service: { url, token } };
  }
}

/** Sends a hand-written WebSocket upgrade and returns its status; after 101 the connection stays open in `socket`. */
export async function upgrade(
  hub: HubProcess,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ status: number; socket: TLSSocket }> {
  const socket = connectTls({ port: hub.port, host: '127.0.0.1', ca: hub.ca });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  const lines = Object.entries({
    Host: hub.hostName,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer.toString('latin1'))?.[1]);
  if (status !== 101) socket.destroy();
  return { status, socket };
}

/** Connects with a grant as any client of Azure does, and returns the status; an accepted connection is closed again. */
export async function present(hub: HubProcess, url: string, authorization: string | undefined): Promise<number> {
  const headers = authorization === undefined ? {} : { Authorization: authorization };
  const { status, socket } = await upgrade(hub, new URL(url).pathname, headers);
  socket.destroy();
  return status;
}

/** Returns the return code of an MQTT 3.1.1 CONNECT over TLS; undefined when the hub closes without an answer. */
export async function connackCode(
  hub: HubProcess,
  credentials: { deviceId: string; username?: string; password?: string },
): Promise<number | undefined> {
  const socket = connectTls({ port: hub.mqttPort ?? 0, host: '127.0.0.1', ca: hub.ca });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  const { deviceId, username, password } = credentials;
  const packet = {
    ...({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 30 } as const),
    clientId: deviceId,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: Buffer.from(password) }),
  };
  socket.write(encodePacket(packet, 4));
  const first = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => undefined)]);
  socket.destroy();
  const bytes = first?.[0] as Buffer | undefined;
  return bytes?.[0] === 0x20 ? bytes[3] : undefined;
}
