import { EventEmitter } from 'node:events';
import { CulvertError, printable } from '@culvert/protocol';
import rhea, { type Delivery, type EventContext, type Message, type Receiver, type Sender, type Session } from 'rhea';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import { CHANNEL_MAX } from '../amqp-validator/connection-rules.ts';
import { amqpError } from './amqp-error.ts';
import type {
  ConnectionInternals,
  ReceiverInternals,
  SaslMechanism,
  SenderInternals,
  SessionInternals,
} from './rhea-internals.ts';

/** What an AMQP engine tells its owner. */
export interface EngineListener {
  /** Whole frames and headers for the peer. */
  write(bytes: Buffer): void;
  /** A SASL exchange is over: the peer was let on, or told that it is refused. */
  saslDone(refusal: CulvertError | undefined): void;
  /** The peer opened the connection. */
  opened(): void;
  /** The peer attached a link; it is answered in the next tick, unless answers are held, with the source and target that it has by then. */
  linkOpened(link: Sender | Receiver): void;
  linkClosed(link: Sender | Receiver): void;
  /** A message came, or bytes of a format that is no AMQP message. */
  message(receiver: Receiver, message: Message | Buffer, delivery: Delivery): void;
  /** The peer said what became of a message. */
  disposed(delivery: Delivery, outcome: Outcome): void;
  /** The peer closed the connection. */
  closed(): void;
  /** The engine broke, by what it was fed (`protocol_error`) or otherwise (`internal`). */
  failed(error: CulvertError): void;
}

/** What became of a message (AMQP 1.0 §3.4). */
export type Outcome = 'accepted' | 'rejected' | 'released' | 'modified';

const OUTCOMES: readonly Outcome[] = ['accepted', 'rejected', 'released', 'modified'];

/** Messages a peer may send before more credit; it is renewed as they are settled, which is at once. */
const CREDIT = 100;

/** Verifies one SASL mechanism's initial response; resolves with the refusal, if it is one. Never rejects. */
export type SaslVerifier = (response: Buffer) => Promise<CulvertError | undefined>;

export interface EngineOptions {
  /** By the name of their mechanism. */
  readonly sasl: Readonly<Record<string, SaslVerifier>>;
  /** Bytes of a message, told to those who attach to send. */
  readonly maxMessageBytes: number;
  readonly listener: EngineListener;
}

/** What rhea takes for a socket. */
class Pipe extends EventEmitter {
  readonly #write: (bytes: Buffer) => void;

  constructor(write: (bytes: Buffer) => void) {
    super();
    this.#write = write;
  }

  write(bytes: Buffer): void {
    this.#write(bytes);
  }

  /** Its owner knows by itself when the connection is to end. */
  end(): void {}

  get_id_string(): string {
    return 'pipe';
  }
}

/**
 * One connection's AMQP engine: rhea without a socket, without timers, and without a way to throw into the event loop. It must be fed through a
 * `FrameValidator`.
 */
export class RheaEngine {
  readonly #connection: ConnectionInternals;
  readonly #pipe: Pipe;
  readonly #listener: EngineListener;
  readonly #links = new Map<Session, Set<Sender | Receiver>>();
  /** How many messages were given to each link to send; those beyond its delivery count wait in the engine. */
  readonly #given = new WeakMap<Sender, number>();
  #feeding = false;
  /** Reasons for which nothing is written now. */
  #holds = 0;

  constructor({ sasl, maxMessageBytes, listener }: EngineOptions) {
    this.#listener = listener;
    this.#pipe = new Pipe((bytes) => listener.write(bytes));
    const container = rhea.create_container({ id: 'culvert' });
    // No prototype: a mechanism is looked up by the name the peer sends.
    container.sasl_server_mechanisms = Object.assign(
      Object.create(null),
      Object.fromEntries(Object.entries(sasl).map(([name, verify]) => [name, () => this.#mechanism(verify)])),
    );
    const connection = container.create_connection({
      port: 0,
      reconnect: false,
      container_id: 'culvert',
      max_frame_size: AMQP_LIMITS.frameBytes,
      channel_max: CHANNEL_MAX,
      idle_time_out: AMQP_LIMITS.idleMs,
      session_buffer_size: AMQP_LIMITS.deliveries,
      receiver_options: { credit_window: CREDIT, autoaccept: false, max_message_size: maxMessageBytes },
    }) as ConnectionInternals;
    this.#connection = connection;
    withoutTimer(connection.local.open);
    const writeDue = connection._process.bind(connection);
    connection._process = () => {
      if (this.#holds === 0) this.#guarded(writeDue);
    };
    this.#listen();
    connection.accept(this.#pipe);
  }

  /** Feeds one whole header or frame. */
  feed(bytes: Buffer): void {
    this.#feeding = true;
    try {
      this.#pipe.emit('data', bytes);
    } finally {
      this.#feeding = false;
    }
  }

  /**
   * Writes nothing until the returned function is called, once, so that a link which was attached meanwhile is answered as it then is. A close is
   * written all the same.
   */
  holdAnswers(): () => void {
    this.#holds++;
    return () => {
      if (this.#holds === 0) return;
      this.#holds--;
      this.#connection._process();
    };
  }

  /** Closes the connection, telling the peer why, if at all; it is written in the next tick. Nothing can be told within SASL. */
  close(error?: CulvertError): void {
    const wereHeld = this.#holds > 0;
    this.#holds = 0;
    // A close is not told before an open (AMQP 1.0 §2.4.3).
    this.#connection.open();
    this.#connection.close(error === undefined ? undefined : amqpError(error));
    // The tick for which rhea has asked may have passed while answers were held.
    if (wereHeld) process.nextTick(() => this.#connection._process());
  }

  /** Whether a message given to the link now would leave now. */
  canSend(link: Sender): boolean {
    const { credit, session } = link as SenderInternals;
    const { outgoing } = session;
    const waiting = outgoing.next_delivery_id - outgoing.next_pending_delivery;
    return (
      link.is_open() && credit > this.#unsent(link) && outgoing.transfer_window() > waiting && outgoing.available() > 0
    );
  }

  /** Sends an encoded message; settled already where the peer wants it so. */
  send(link: Sender, message: Buffer, tag?: Buffer): void {
    this.#given.set(link, (this.#given.get(link) ?? (link as SenderInternals).delivery_count) + 1);
    link.send(message, tag, 0);
  }

  /** The id of the next message sent in the peer's session on `channel`. */
  nextSent(channel: number): number {
    return this.#connection.remote_channel_map[channel]?.outgoing.next_pending_delivery ?? 0;
  }

  #unsent(link: Sender): number {
    const sent = (link as SenderInternals).delivery_count;
    return (this.#given.get(link) ?? sent) - sent;
  }

  #mechanism(verify: SaslVerifier): SaslMechanism {
    const mechanism: SaslMechanism = {
      outcome: undefined,
      username: undefined,
      start: (response) => {
        return verify(response ?? Buffer.alloc(0)).then((refusal) => {
          mechanism.outcome = refusal === undefined;
          // rhea writes the outcome when this promise is fulfilled, which it is before the next microtask but one.
          queueMicrotask(() => queueMicrotask(() => this.#guarded(() => this.#listener.saslDone(refusal))));
        });
      },
    };
    return mechanism;
  }

  #listen(): void {
    const connection = this.#connection;
    const on = (event: string, handle: (context: EventContext) => void): void => {
      connection.on(event, (context: EventContext) => this.#guarded(() => handle(context)));
    };
    on('connection_open', () => {
      if (connection.remote.open !== undefined) withoutTimer(connection.remote.open);
      this.#listener.opened();
    });
    on('connection_close', () => this.#listener.closed());
    on('session_close', ({ session }) => session && this.#sessionClosed(session));
    on('sender_open', ({ sender }) => sender && this.#linkOpened(sender));
    on('receiver_open', ({ receiver }) => receiver && this.#receiverOpened(receiver as ReceiverInternals));
    on('sender_close', ({ sender }) => sender && this.#linkClosed(sender));
    on('receiver_close', ({ receiver }) => receiver && this.#linkClosed(receiver));
    on('message', (context) => this.#messageCame(context));
    for (const outcome of OUTCOMES) on(outcome, ({ delivery }) => delivery && this.#disposed(delivery, outcome));
    // Without a listener each of these would be thrown into the event loop, or printed.
    for (const event of ['error', 'protocol_error']) connection.on(event, (reason: unknown) => this.#broke(reason));
    for (const event of ['connection_error', 'disconnected']) connection.on(event, () => {});
  }

  #receiverOpened(receiver: ReceiverInternals): void {
    // rhea counts from zero whatever the peer says it has sent before.
    receiver.delivery_count = receiver.remote.attach.initial_delivery_count ?? 0;
    this.#linkOpened(receiver);
  }

  #linkOpened(link: Sender | Receiver): void {
    const links = this.#links.get(link.session) ?? new Set();
    this.#links.set(link.session, links.add(link));
    this.#listener.linkOpened(link);
  }

  #linkClosed(link: Sender | Receiver): void {
    if (this.#links.get(link.session)?.delete(link)) this.#listener.linkClosed(link);
  }

  /** rhea drops a session's links without a word. */
  #sessionClosed(session: Session): void {
    const links = this.#links.get(session) ?? [];
    this.#links.delete(session);
    for (const link of links) this.#listener.linkClosed(link);
  }

  #messageCame({ receiver, message, delivery }: EventContext): void {
    if (receiver === undefined || message === undefined || delivery === undefined) return;
    const { incoming } = receiver.session as SessionInternals;
    // Delivery ids and counts are serial numbers of 32 bits (§2.8.10); rhea goes on counting beyond, and then cannot write what it has counted.
    if (incoming.next_delivery_id !== undefined) incoming.next_delivery_id >>>= 0;
    (receiver as ReceiverInternals).delivery_count >>>= 0;
    this.#listener.message(receiver, message, delivery);
  }

  #disposed(delivery: Delivery, outcome: Outcome): void {
    // A receiver that settles second waits for this (§2.6.12).
    if (!delivery.remote_settled) delivery.update(true);
    this.#listener.disposed(delivery, outcome);
  }

  #broke(reason: unknown): void {
    if (!this.#feeding) {
      this.#listener.failed(CulvertError.from(reason));
      return;
    }
    const detail = reason instanceof Error ? printable(reason.message, 128) : 'unknown';
    this.#listener.failed(new CulvertError('protocol_error', `AMQP was broken: ${detail}.`, { cause: reason }));
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (reason) {
      this.#listener.failed(CulvertError.from(reason));
    }
  }
}

/** The hub's own clock watches over silence and shows life; the number stays in what is announced. */
function withoutTimer(open: object): void {
  Object.defineProperty(open, 'idle_time_out', { value: undefined });
}
