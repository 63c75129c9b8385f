import { randomUUID } from 'node:crypto';
import rhea, { type Connection, type EventContext, type Message, type Receiver, type Sender } from 'rhea';
import type { HubProcess } from '../hub-process.ts';
import { seconds } from '../sas.ts';
import { nextEvent, openAmqp } from './amqp-connection.ts';
import type { ByteLink, OpenByteLink } from './byte-link.ts';
import {
  type CbsLinks,
  CSHARP_TOKEN_TYPE,
  csharpPutToken,
  openCCbs,
  openCsharpCbs,
  type PutTokenHeader,
  putToken,
} from './cbs.ts';
import type { AzureControlChannel, AzureRequest, OpenControlChannel, RequestListener } from './control-channel.ts';
import { type AzureConnectionString, audienceOf, csharpToken, cToken } from './credentials.ts';

/** The differences between Azure's AMQP clients. */
interface AmqpVariant {
  readonly mechanism: 'MSSBCBS' | 'ANONYMOUS';
  readonly apiVersion: string;
  readonly clientVersion: string;
  readonly linkName: (direction: 'snd' | 'rcv', deviceId: string) => string;
  /** The links that the client attaches before those for streams, for the other features of its library; relative to the device's address. */
  readonly otherLinks: readonly (readonly [direction: 'snd' | 'rcv', path: string])[];
  readonly token: (audience: string, key: string, expiry: number) => string;
  readonly openCbs: (link: ByteLink, connection: Connection) => Promise<CbsLinks>;
  readonly tokenType: string;
  /** The header of the nth put-token message, besides the token. */
  readonly putToken: (count: number, expiry: number) => PutTokenHeader;
  readonly answerBody: unknown;
}

const C_OVER_AMQP: AmqpVariant = {
  mechanism: 'MSSBCBS',
  apiVersion: '2016-11-14',
  clientVersion: 'iothubclient/1.9.0 (native; Linux; x86_64)',
  linkName: (direction, deviceId) => `link-${direction}-${deviceId}-${randomUUID()}`,
  otherLinks: [
    ['snd', 'messages/events'],
    ['rcv', 'messages/devicebound'],
    ['snd', 'twin'],
    ['rcv', 'twin'],
  ],
  token: cToken,
  openCbs: openCCbs,
  tokenType: 'servicebus.windows.net:sastoken',
  putToken: (count) => ({ messageId: count, properties: {} }),
  answerBody: rhea.message.data_section(Buffer.from(' ')),
};

const CSHARP: AmqpVariant = {
  mechanism: 'ANONYMOUS',
  apiVersion: '2020-09-30',
  clientVersion: '.NET/1.32.0-preview-001 (.NET Core 3.1; Linux; X64)',
  linkName: (direction) => `_Streams${direction === 'snd' ? 'Sender' : 'Receiver'}Link:${randomUUID()}`,
  otherLinks: [['snd', 'messages/events']],
  token: csharpToken,
  openCbs: openCsharpCbs,
  tokenType: CSHARP_TOKEN_TYPE,
  putToken: csharpPutToken,
  answerBody: undefined,
};

interface AmqpTransport {
  readonly hub: HubProcess;
  readonly device: AzureConnectionString;
  readonly link: OpenByteLink;
}

/** The C client over AMQP: SASL MSSBCBS, a put-token with a ulong id, links for telemetry and twin before those for streams. */
export function cOverAmqp(transport: AmqpTransport): OpenControlChannel {
  return (onRequest) => AmqpControlChannel.open(transport, C_OVER_AMQP, onRequest);
}

/** The C# client over AMQP: SASL ANONYMOUS, CBS in a separate session with a token type of its own, answers without a body. */
export function csharpOverAmqp(transport: AmqpTransport): OpenControlChannel {
  return (onRequest) => AmqpControlChannel.open(transport, CSHARP, onRequest);
}

class AmqpControlChannel implements AzureControlChannel {
  readonly ended: Promise<void>;
  readonly #link: ByteLink;
  readonly #connection: Connection;
  readonly #device: AzureConnectionString;
  readonly #variant: AmqpVariant;
  #puts = 0;
  #cbs: CbsLinks | undefined;
  #streams: { readonly sender: Sender; readonly receiver: Receiver } | undefined;

  private constructor(link: ByteLink, connection: Connection, device: AzureConnectionString, variant: AmqpVariant) {
    this.#link = link;
    this.#connection = connection;
    this.#device = device;
    this.#variant = variant;
    this.ended = link.ended;
  }

  static async open(
    { hub, device, link: openLink }: AmqpTransport,
    variant: AmqpVariant,
    onRequest: RequestListener,
  ): Promise<AmqpControlChannel> {
    const { link, connection } = await openAmqp(hub, openLink, variant.mechanism, {
      hostname: device.hostName,
      host: device.hostName,
      idle_time_out: 240_000,
      max_frame_size: 4_294_967_295,
      channel_max: 65_535,
    });
    const channel = new AmqpControlChannel(link, connection, device, variant);
    channel.#cbs = await variant.openCbs(link, connection);
    await channel.renewToken();
    await channel.#openOtherLinks();
    await channel.#openStreams(onRequest);
    return channel;
  }

  /** Puts a token, both for the first token and for each renewal: the connection stays open. */
  async renewToken(): Promise<void> {
    const audience = audienceOf(this.#device);
    const expiry = seconds(3600);
    await putToken(this.#link, must(this.#cbs), {
      ...this.#variant.putToken(this.#puts++, expiry),
      ...{ audience, type: this.#variant.tokenType, token: this.#variant.token(audience, this.#device.key, expiry) },
    });
  }

  async answer({ requestId }: AzureRequest, accepted: boolean): Promise<void> {
    must(this.#streams).sender.send({
      correlation_id: requestId as Buffer,
      application_properties: { 'IoThub-streaming-is-accepted': accepted },
      body: this.#variant.answerBody,
    });
  }

  async unsubscribe(): Promise<void> {
    const { sender, receiver } = must(this.#streams);
    const closed = Promise.all([
      nextEvent(this.#link, sender, 'sender_close'),
      nextEvent(this.#link, receiver, 'receiver_close'),
    ]);
    sender.close();
    receiver.close();
    await closed;
  }

  async close(): Promise<void> {
    const closed = nextEvent(this.#link, this.#connection, 'connection_close');
    this.#connection.close();
    await closed;
    this.#link.drop();
    await this.ended;
  }

  drop(): void {
    this.#link.drop();
  }

  async #openOtherLinks(): Promise<void> {
    const twin = `twin:${randomUUID()}`;
    const opened = this.#variant.otherLinks.map(([direction, path]) =>
      direction === 'snd'
        ? nextEvent(this.#link, this.#attachSender(path, path === 'twin' ? twin : undefined), 'sendable')
        : nextEvent(this.#link, this.#attachReceiver(path, path === 'twin' ? twin : undefined), 'receiver_open'),
    );
    await Promise.all(opened);
  }

  /** Attaches the two links for streams, paired by the same correlation id. */
  async #openStreams(onRequest: RequestListener): Promise<void> {
    const correlationId = `streams:${randomUUID()}`;
    const sender = this.#attachSender('streams', correlationId);
    const receiver = this.#attachReceiver('streams', correlationId);
    receiver.on('message', ({ message }: EventContext) => {
      if (message !== undefined) onRequest(readRequest(message), this);
    });
    await Promise.all([nextEvent(this.#link, sender, 'sendable'), nextEvent(this.#link, receiver, 'receiver_open')]);
    this.#streams = { sender, receiver };
  }

  #attachSender(path: string, correlationId: string | undefined): Sender {
    const name = this.#variant.linkName('snd', this.#device.deviceId);
    const options = { name, source: name, target: this.#address(path), snd_settle_mode: 1 as const };
    return this.#connection.open_sender({ ...options, properties: this.#properties(correlationId) });
  }

  #attachReceiver(path: string, correlationId: string | undefined): Receiver {
    const name = this.#variant.linkName('rcv', this.#device.deviceId);
    const options = { name, source: this.#address(path), target: name, rcv_settle_mode: 0 as const };
    return this.#connection.open_receiver({ ...options, properties: this.#properties(correlationId) });
  }

  #address(path: string): string {
    return `amqps://${audienceOf(this.#device)}/${path}`;
  }

  #properties(correlationId: string | undefined): Record<string, string> {
    return {
      'com.microsoft:client-version': this.#variant.clientVersion,
      'com.microsoft:api-version': this.#variant.apiVersion,
      ...(correlationId === undefined ? {} : { 'com.microsoft:channel-correlation-id': correlationId }),
    };
  }
}

/**
 * Reads a request as the clients do: the correlation id must be a UUID, every property a string, and the URL is not decoded.
 * @throws Error where the clients fail
 */
function readRequest({ correlation_id: requestId, application_properties: properties = {} }: Message): AzureRequest {
  if (!Buffer.isBuffer(requestId) || requestId.length !== 16) throw new Error(`no uuid: ${requestId}`);
  const [streamName, url, token] = ['name', 'url', 'auth-token'].map((key) => properties[`IoThub-streaming-${key}`]);
  if (typeof streamName !== 'string' || typeof url !== 'string' || typeof token !== 'string')
    throw new Error(`not three strings: ${JSON.stringify(properties)}`);
  return { requestId, streamName, url, token };
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the links are not open yet');
  return value;
}
