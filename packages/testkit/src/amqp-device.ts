import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import {
  CBS_NODE,
  CBS_PROPERTIES,
  CHANNEL_CORRELATION,
  type Identity,
  identityPath,
  PUT_TOKEN,
  SAS_TOKEN_TYPES,
  STREAM_PROPERTIES,
} from '@culvert/protocol';
import rhea, { type Connection, type EventContext, type Message, type Receiver, type Sender } from 'rhea';

/** The SASL mechanism and initial response of a device; null for no SASL layer. */
export type AmqpSasl = { readonly mechanism: string; readonly response?: string } | null;

/** A received stream request, with its correlation id in hexadecimal. */
export interface AmqpOffer {
  readonly correlationId: string;
  readonly message: Message;
}

interface Waiting {
  readonly matches: (context: EventContext) => boolean;
  resolve(context: EventContext): void;
  reject(error: Error): void;
}

type Link = Sender | Receiver;

/** The events of rhea that {@link AmqpDevice.event} can wait for. */
const EVENTS = [
  ...['connection_open', 'connection_close', 'sender_open', 'receiver_open', 'sender_close', 'receiver_close'],
  ...['message', 'accepted', 'rejected', 'released', 'sendable'],
];

/** The host name of the hub in a scripted device's addresses. */
const HUB = 'hub.example';

/** An AMQP device that a test controls step by step, built on rhea, over any connection. It sends no heartbeats and settles received messages. */
export class AmqpDevice {
  readonly connection: Duplex;
  /** rhea's connection object, for operations that this class does not have. */
  readonly engine: Connection;
  /** Resolves when the connection has ended, cleanly or with an error. */
  readonly over: Promise<void>;
  /** The error condition of the hub's CLOSE; undefined before a CLOSE with a condition is received. */
  closeCondition: string | undefined;
  /** The error condition of each DETACH that the hub sent, with the address of the link. */
  readonly detached: { readonly address: string; readonly condition: string | undefined }[] = [];
  readonly #addresses = new Map<Link, string>();
  readonly #waiting = new Map<string, Waiting[]>();
  /** Received messages that no caller has taken yet. */
  readonly #messages: EventContext[] = [];
  #isOver = false;
  #streams: { sender: Sender; receiver: Receiver } | undefined;
  #cbs: Promise<{ sender: Sender; receiver: Receiver }> | undefined;

  /** @param open additional fields of the device's OPEN, with rhea's names */
  constructor(connection: Duplex, sasl: AmqpSasl = { mechanism: 'MSSBCBS' }, open: object = {}) {
    this.connection = connection;
    const container = rhea.create_container({ id: randomUUID() });
    const response = sasl?.response === undefined ? null : Buffer.from(sasl.response);
    const options = {
      port: 0,
      reconnect: false,
      hostname: HUB,
      ...open,
      connection_details: () => ({
        host: HUB,
        port: 0,
        connect: (_port: number, _host: string, _options: object, connected: () => void) => {
          process.nextTick(connected);
          return connection;
        },
      }),
      ...(sasl === null
        ? {}
        : {
            sasl_mechanisms: {
              [sasl.mechanism]: {
                start: (done: (e: undefined, r: Buffer | null) => void) => done(undefined, response),
              },
            },
          }),
    };
    const engine = container.connect(options);
    this.engine = engine;
    this.#listen();
    this.over = new Promise((resolve) => {
      const end = (): void => {
        this.#isOver = true;
        for (const { reject } of [...this.#waiting.values()].flat()) reject(new Error('The connection is over.'));
        this.#waiting.clear();
        resolve();
      };
      connection.once('end', end);
      connection.once('close', end);
    });
    // An error needs a listener. Tests wait for the end of the connection with `over`.
    connection.on('error', () => connection.destroy());
  }

  /** Waits for the hub's OPEN. Must be called in the event-loop iteration in which the device is created. */
  async opened(): Promise<void> {
    await this.event('connection_open');
  }

  /** Puts a token for an identity, or for any CBS name, and returns the status that the hub answers with. */
  async putToken(to: Identity | string, token = 'token'): Promise<{ status: number; description: string }> {
    this.#cbs ??= this.#attachCbs();
    const { sender, receiver } = await this.#cbs;
    const id = randomUUID();
    const answered = this.#message(receiver, (message) => message.correlation_id === id);
    sender.send({
      message_id: id,
      application_properties: {
        [CBS_PROPERTIES.operation]: PUT_TOKEN,
        [CBS_PROPERTIES.type]: SAS_TOKEN_TYPES[0],
        [CBS_PROPERTIES.name]: typeof to === 'string' ? to : `${HUB}/${identityPath(to)}`,
      },
      body: token,
    });
    const { application_properties: properties } = await answered;
    return {
      status: properties?.[CBS_PROPERTIES.statusCode],
      description: properties?.[CBS_PROPERTIES.statusDescription],
    };
  }

  /** Attaches a link on which the device sends. @throws Error with the condition if the hub refuses the link */
  send(address: string, options: object = {}): Promise<Sender> {
    const link = this.engine.open_sender({ name: randomUUID(), target: { address }, source: address, ...options });
    return this.#attached(link, 'sender', address);
  }

  /** Attaches a link on which the device receives. @throws Error with the condition if the hub refuses the link */
  receive(address: string, options: object = {}): Promise<Receiver> {
    const link = this.engine.open_receiver({ name: randomUUID(), source: { address }, target: address, ...options });
    return this.#attached(link, 'receiver', address);
  }

  /**
   * Attaches the two streams links of an identity with the same options as Azure's C client.
   * @param properties of both links, besides the correlation
   */
  async attachStreams(
    identity: Identity,
    correlation: string | undefined = `streams:${randomUUID()}`,
    properties: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const address = `amqps://${HUB}/${identityPath(identity)}/streams`;
    const options = {
      snd_settle_mode: 1,
      rcv_settle_mode: 0,
      credit_window: 10_000,
      ...(correlation === undefined ? {} : { properties: { [CHANNEL_CORRELATION]: correlation, ...properties } }),
    };
    const [sender, receiver] = await Promise.all([this.send(address, options), this.receive(address, options)]);
    this.#streams = { sender, receiver };
  }

  /** Detaches the two streams links; resolves when the hub has detached them too. */
  async detachStreams(): Promise<void> {
    const { sender, receiver } = this.#attachedStreams();
    const closed = [
      this.event('sender_close', (context) => context.sender === sender),
      this.event('receiver_close', (context) => context.receiver === receiver),
    ];
    sender.close();
    receiver.close();
    await Promise.all(closed);
  }

  /** Resolves with the next offer that the device receives. */
  async nextOffer(): Promise<AmqpOffer> {
    const message = await this.next(this.#attachedStreams().receiver);
    const id = message.correlation_id;
    if (!Buffer.isBuffer(id)) throw new Error('The correlation id of an offer is no uuid.');
    return { correlationId: id.toString('hex'), message };
  }

  /** Answers an offer. A correlation id of 32 hexadecimal digits is sent as a uuid, any other as a string. */
  answer(answer: {
    correlationId: string;
    accepted: boolean;
    reason?: string | undefined;
    /** The text of the property `culvert-session`. */
    session?: string | undefined;
  }): void {
    const isUuid = /^[0-9a-f]{32}$/.test(answer.correlationId);
    this.#attachedStreams().sender.send({
      correlation_id: isUuid ? Buffer.from(answer.correlationId, 'hex') : answer.correlationId,
      application_properties: {
        [STREAM_PROPERTIES.isAccepted]: answer.accepted,
        ...(answer.reason === undefined ? {} : { [STREAM_PROPERTIES.rejectReason]: answer.reason }),
        ...(answer.session === undefined ? {} : { [STREAM_PROPERTIES.session]: answer.session }),
      },
      body: rhea.message.data_section(Buffer.from(' ')),
    });
  }

  /** Sends a message of this subject and body on the streams link. */
  tell(subject: string, body: string): void {
    this.#attachedStreams().sender.send({ subject, body });
  }

  /** Resolves with the next message on a link. */
  next(receiver: Receiver): Promise<Message> {
    return this.#message(receiver, () => true);
  }

  /** Resolves with the next event of rhea that has this name and matches. */
  event(name: string, matches: (context: EventContext) => boolean = () => true): Promise<EventContext> {
    if (this.#isOver) return Promise.reject(new Error('The connection is over.'));
    return new Promise((resolve, reject) => {
      this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), { matches, resolve, reject }]);
    });
  }

  /** Sends an empty frame, which is AMQP's heartbeat. */
  showLife(): void {
    this.connection.write(Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]));
  }

  async #attachCbs(): Promise<{ sender: Sender; receiver: Receiver }> {
    const [receiver, sender] = await Promise.all([this.receive(CBS_NODE), this.send(CBS_NODE)]);
    return { receiver, sender };
  }

  async #message(receiver: Receiver, wanted: (message: Message) => boolean): Promise<Message> {
    const matches = ({ receiver: its, message }: EventContext): boolean =>
      its === receiver && message !== undefined && wanted(message);
    const at = this.#messages.findIndex(matches);
    const [context] = at < 0 ? [] : this.#messages.splice(at, 1);
    const { message } = context ?? (await this.event('message', matches));
    if (message === undefined) throw new Error('An event without a message.');
    return message;
  }

  #attachedStreams(): { sender: Sender; receiver: Receiver } {
    if (this.#streams === undefined) throw new Error('No streams links are attached.');
    return this.#streams;
  }

  async #attached<L extends Link>(link: L, role: 'sender' | 'receiver', address: string): Promise<L> {
    this.#addresses.set(link, address);
    const isIt = (context: EventContext): boolean => context[role] === link;
    const closed = this.event(`${role}_close`, isIt);
    // This promise is awaited only if the link is refused, so its rejection must be handled here.
    closed.catch(() => {});
    await this.event(`${role}_open`, isIt);
    // The hub answers a refused attach with a null source or target, then a detach (AMQP 1.0 §2.6.3).
    const { address: named } = (role === 'sender' ? link.target : link.source) ?? {};
    if (named !== undefined) return link;
    await closed;
    throw new Error(conditionOf(link.error) ?? 'The hub refused the link.');
  }

  #listen(): void {
    const { engine } = this;
    // Disable rhea's idle timeouts, because they use the system clock and tests use a fake clock.
    Object.defineProperty(engine['local'].open, 'idle_time_out', { value: undefined });
    engine.on('connection_open', () =>
      Object.defineProperty(engine['remote'].open, 'idle_time_out', { value: undefined }),
    );
    engine.on('connection_error', () => {
      this.closeCondition = conditionOf(engine.error);
    });
    for (const event of ['sender_close', 'receiver_close'])
      engine.on(event, (context: EventContext) => this.#closed(context));
    for (const event of ['disconnected', 'error', 'protocol_error', 'session_close']) engine.on(event, () => {});
    for (const event of EVENTS) engine.on(event, (context: EventContext) => this.#happened(event, context));
  }

  #closed({ sender, receiver }: EventContext): void {
    const link = sender ?? receiver;
    if (link === undefined) return;
    this.detached.push({ address: this.#addresses.get(link) ?? '', condition: conditionOf(link.error) });
  }

  #happened(name: string, context: EventContext): void {
    const waiting = this.#waiting.get(name) ?? [];
    const left = waiting.filter((each) => !each.matches(context));
    for (const each of waiting) if (!left.includes(each)) each.resolve(context);
    this.#waiting.set(name, left);
    if (name === 'message' && left.length === waiting.length) this.#messages.push(context);
  }
}

function conditionOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('condition' in error)) return undefined;
  return typeof error.condition === 'string' ? error.condition : undefined;
}
