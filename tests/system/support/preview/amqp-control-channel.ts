import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import rhea, { type Connection, type EventContext, type Message, type Receiver, type Sender } from 'rhea';
import type { HubProcess } from '../hub-process.ts';
import { seconds } from '../sas.ts';
import type { ByteLink, OpenByteLink } from './byte-link.ts';
import type { OpenControlChannel, PreviewControlChannel, PreviewRequest, RequestListener } from './control-channel.ts';
import { audienceOf, csharpToken, cToken, type PreviewConnectionString } from './credentials.ts';

/** Milliseconds a client waits for an answer of the hub before it gives up. */
const ANSWER_MS = 30_000;

/** What tells one AMQP client of Azure from another. */
interface AmqpDialect {
  readonly mechanism: 'MSSBCBS' | 'ANONYMOUS';
  readonly apiVersion: string;
  readonly clientVersion: string;
  readonly linkName: (direction: 'snd' | 'rcv', deviceId: string) => string;
  /** What it attaches before the streams, for the rest of what its library does; below the device's address. */
  readonly otherLinks: readonly (readonly [direction: 'snd' | 'rcv', path: string])[];
  readonly token: (audience: string, key: string, expiry: number) => string;
  /** The id of its nth put-token. */
  readonly messageId: (count: number) => number | string;
  readonly answerBody: unknown;
}

const C: AmqpDialect = {
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
  messageId: (count) => count,
  answerBody: rhea.message.data_section(Buffer.from(' ')),
};

const CSHARP: AmqpDialect = {
  mechanism: 'ANONYMOUS',
  apiVersion: '2020-09-30',
  clientVersion: '.NET/1.32.0-preview-001 (.NET Core 3.1; Linux; X64)',
  linkName: (direction) => `_Streams${direction === 'snd' ? 'Sender' : 'Receiver'}Link:${randomUUID()}`,
  otherLinks: [['snd', 'messages/events']],
  token: csharpToken,
  messageId: () => randomUUID(),
  answerBody: undefined,
};

interface AmqpTransport {
  readonly hub: HubProcess;
  readonly device: PreviewConnectionString;
  readonly link: OpenByteLink;
}

/** The C client over AMQP: SASL MSSBCBS, a put-token with a ulong id, links for telemetry and twin before those for streams. */
export function cOverAmqp(transport: AmqpTransport): OpenControlChannel {
  return (onRequest) => AmqpControlChannel.open(transport, C, onRequest);
}

/** The C# client over AMQP: SASL ANONYMOUS, a put-token with a string id, answers without a body. */
export function csharpOverAmqp(transport: AmqpTransport): OpenControlChannel {
  return (onRequest) => AmqpControlChannel.open(transport, CSHARP, onRequest);
}

class AmqpControlChannel implements PreviewControlChannel {
  readonly ended: Promise<void>;
  readonly #link: ByteLink;
  readonly #connection: Connection;
  readonly #device: PreviewConnectionString;
  readonly #dialect: AmqpDialect;
  #puts = 0;
  #cbs: { readonly sender: Sender; readonly receiver: Receiver } | undefined;
  #streams: { readonly sender: Sender; readonly receiver: Receiver } | undefined;

  private constructor(link: ByteLink, connection: Connection, device: PreviewConnectionString, dialect: AmqpDialect) {
    this.#link = link;
    this.#connection = connection;
    this.#device = device;
    this.#dialect = dialect;
    this.ended = link.ended;
  }

  static async open(
    { hub, device, link: openLink }: AmqpTransport,
    dialect: AmqpDialect,
    onRequest: RequestListener,
  ): Promise<AmqpControlChannel> {
    const { link, socket } = await openSocket(hub, openLink);
    const container = rhea.create_container();
    // Without these a protocol error would be thrown out of the socket's listener.
    for (const event of ['error', 'protocol_error', 'connection_error', 'disconnected']) container.on(event, () => {});
    const connection = container.connect({
      hostname: device.hostName,
      host: device.hostName,
      port: 5671,
      idle_time_out: 240_000,
      max_frame_size: 4_294_967_295,
      channel_max: 65_535,
      reconnect: false,
      ...saslOptions(dialect.mechanism),
      connection_details: () => ({ host: hub.host, port: 5671, connect: connectBy(socket) }),
    });
    const channel = new AmqpControlChannel(link, connection, device, dialect);
    await channel.#heard(connection, 'connection_open');
    await channel.#openCbs();
    await channel.renewToken();
    await channel.#openOtherLinks();
    await channel.#openStreams(onRequest);
    return channel;
  }

  /** Puts a token, as the first one and as any later: the connection stays. */
  async renewToken(): Promise<void> {
    const { sender, receiver } = must(this.#cbs);
    const id = this.#dialect.messageId(this.#puts++);
    const reply = this.#heard(receiver, 'message');
    const audience = audienceOf(this.#device);
    sender.send({
      message_id: id,
      application_properties: {
        name: audience,
        operation: 'put-token',
        type: 'servicebus.windows.net:sastoken',
      },
      body: this.#dialect.token(audience, this.#device.key, seconds(3600)),
    });
    const { message } = await reply;
    const { 'status-code': status, 'status-description': description } = message?.application_properties ?? {};
    if (message?.correlation_id !== id) throw new Error(`a reply to put-token ${message?.correlation_id}, not ${id}`);
    if (status !== 200) throw new Error(`put-token: ${status} ${description}`);
  }

  async answer({ requestId }: PreviewRequest, accepted: boolean): Promise<void> {
    must(this.#streams).sender.send({
      correlation_id: requestId as Buffer,
      application_properties: { 'IoThub-streaming-is-accepted': accepted },
      body: this.#dialect.answerBody,
    });
  }

  async unsubscribe(): Promise<void> {
    const { sender, receiver } = must(this.#streams);
    const closed = Promise.all([this.#heard(sender, 'sender_close'), this.#heard(receiver, 'receiver_close')]);
    sender.close();
    receiver.close();
    await closed;
  }

  async close(): Promise<void> {
    const closed = this.#heard(this.#connection, 'connection_close');
    this.#connection.close();
    await closed;
    this.#link.drop();
    await this.ended;
  }

  drop(): void {
    this.#link.drop();
  }

  async #openCbs(): Promise<void> {
    const sender = this.#connection.open_sender({ name: '$cbs-sender', source: '$cbs', target: '$cbs' });
    const receiver = this.#connection.open_receiver({ name: '$cbs-receiver', source: '$cbs', target: '$cbs' });
    await Promise.all([this.#heard(sender, 'sendable'), this.#heard(receiver, 'receiver_open')]);
    this.#cbs = { sender, receiver };
  }

  async #openOtherLinks(): Promise<void> {
    const twin = `twin:${randomUUID()}`;
    const opened = this.#dialect.otherLinks.map(([direction, path]) =>
      direction === 'snd'
        ? this.#heard(this.#attachSender(path, path === 'twin' ? twin : undefined), 'sendable')
        : this.#heard(this.#attachReceiver(path, path === 'twin' ? twin : undefined), 'receiver_open'),
    );
    await Promise.all(opened);
  }

  /** The two links, paired by the same correlation id. */
  async #openStreams(onRequest: RequestListener): Promise<void> {
    const correlationId = `streams:${randomUUID()}`;
    const sender = this.#attachSender('streams', correlationId);
    const receiver = this.#attachReceiver('streams', correlationId);
    receiver.on('message', ({ message }: EventContext) => {
      if (message !== undefined) onRequest(readRequest(message), this);
    });
    await Promise.all([this.#heard(sender, 'sendable'), this.#heard(receiver, 'receiver_open')]);
    this.#streams = { sender, receiver };
  }

  #attachSender(path: string, correlationId: string | undefined): Sender {
    const name = this.#dialect.linkName('snd', this.#device.deviceId);
    const options = { name, source: name, target: this.#address(path), snd_settle_mode: 1 as const };
    return this.#connection.open_sender({ ...options, properties: this.#properties(correlationId) });
  }

  #attachReceiver(path: string, correlationId: string | undefined): Receiver {
    const name = this.#dialect.linkName('rcv', this.#device.deviceId);
    const options = { name, source: this.#address(path), target: name, rcv_settle_mode: 0 as const };
    return this.#connection.open_receiver({ ...options, properties: this.#properties(correlationId) });
  }

  #address(path: string): string {
    return `amqps://${audienceOf(this.#device)}/${path}`;
  }

  #properties(correlationId: string | undefined): Record<string, string> {
    return {
      'com.microsoft:client-version': this.#dialect.clientVersion,
      'com.microsoft:api-version': this.#dialect.apiVersion,
      ...(correlationId === undefined ? {} : { 'com.microsoft:channel-correlation-id': correlationId }),
    };
  }

  /** The next event of this name; an error where the peer closes instead, or is silent for too long. */
  #heard(source: Connection | Sender | Receiver, event: string): Promise<EventContext> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the hub was silent where ${event} was due`)), ANSWER_MS);
      const settle = (act: () => void) => {
        clearTimeout(late);
        act();
      };
      source.once(event, (context: EventContext) => settle(() => resolve(context)));
      for (const wrong of ['sender_error', 'receiver_error', 'connection_error', 'disconnected'])
        source.once(wrong, (context: EventContext) => settle(() => reject(refusal(context))));
      void this.ended.then(() => settle(() => reject(new Error(`the hub closed where ${event} was due`))));
    });
  }
}

/** A connection's bytes as the socket that rhea wants. */
async function openSocket(hub: HubProcess, openLink: OpenByteLink): Promise<{ link: ByteLink; socket: Duplex }> {
  let ready: ByteLink | undefined;
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      ready?.send(chunk);
      done();
    },
  });
  const link = await openLink(hub, (bytes) => socket.push(bytes));
  ready = link;
  void link.ended.then(() => socket.push(null));
  return { link, socket };
}

const connectBy = (socket: Duplex) => (_port: number, _host: string, _options: unknown, connected: () => void) => {
  process.nextTick(connected);
  return socket as Socket;
};

/** A client's mechanism that says nothing; rhea's types know no mechanisms of one's own. */
function saslOptions(mechanism: string): object {
  return {
    sasl_mechanisms: { [mechanism]: () => ({ start: (done: (e?: Error, r?: string) => void) => done(undefined, '') }) },
  };
}

/**
 * Reads a request as the clients do: the correlation id a uuid, every property a string, the URL as it is.
 * @throws Error where they fail
 */
function readRequest({ correlation_id: requestId, application_properties: properties = {} }: Message): PreviewRequest {
  if (!Buffer.isBuffer(requestId) || requestId.length !== 16) throw new Error(`no uuid: ${requestId}`);
  const [streamName, url, token] = ['name', 'url', 'auth-token'].map((key) => properties[`IoThub-streaming-${key}`]);
  if (typeof streamName !== 'string' || typeof url !== 'string' || typeof token !== 'string')
    throw new Error(`not three strings: ${JSON.stringify(properties)}`);
  return { requestId, streamName, url, token };
}

function refusal({ sender, receiver, connection }: EventContext): Error {
  const error = sender?.error ?? receiver?.error ?? connection.error;
  return new Error(`the hub refused: ${error === undefined ? 'it closed' : JSON.stringify(error)}`);
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the links are not open yet');
  return value;
}
