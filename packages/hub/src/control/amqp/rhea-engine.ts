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

/** Receives the events of an AMQP engine. */
export interface EngineListener {
  /** Sends complete frames and headers to the peer. */
  write(bytes: Buffer): void;
  /** A SASL exchange has ended, and its outcome was sent to the peer. @param refusal undefined when the peer may continue */
  saslDone(refusal: CulvertError | undefined): void;
  /** The peer opened the connection. */
  opened(): void;
  /** The peer attached a link. The answer, with the source and target set by then, is written in the next tick, unless answers are held. */
  linkOpened(link: Sender | Receiver): void;
  linkClosed(link: Sender | Receiver): void;
  /** A message was received; as a Buffer if its format is not that of an AMQP message. */
  message(receiver: Receiver, message: Message | Buffer, delivery: Delivery): void;
  /** The peer reported the outcome of a message. */
  disposed(delivery: Delivery, outcome: Outcome): void;
  /** The peer closed the connection. */
  closed(): void;
  /** The engine failed, because of its input (`protocol_error`) or otherwise (`internal`). */
  failed(error: CulvertError): void;
}

/** The outcome of a message (AMQP 1.0 §3.4). */
export type Outcome = 'accepted' | 'rejected' | 'released' | 'modified';

const OUTCOMES: readonly Outcome[] = ['accepted', 'rejected', 'released', 'modified'];

/** Messages that a peer may send before it needs more credit, which it gets as they are settled. They are settled at once. */
const CREDIT = 100;

/** Verifies the initial response of one SASL mechanism; resolves with the error if it is refused. Never rejects. */
export type SaslVerifier = (response: Buffer) => Promise<CulvertError | undefined>;

export interface EngineOptions {
  /** Verifiers by the name of their mechanism. */
  readonly sasl: Readonly<Record<string, SaslVerifier>>;
  /** Maximum bytes of a message, announced on links on which the peer sends. */
  readonly maxMessageBytes: number;
  readonly listener: EngineListener;
}

/** Stands in for the socket that rhea expects. */
class Pipe extends EventEmitter {
  readonly #write: (bytes: Buffer) => void;

  constructor(write: (bytes: Buffer) => void) {
    super();
    this.#write = write;
  }

  write(bytes: Buffer): void {
    this.#write(bytes);
  }

  /** Does nothing: the engine's owner ends the connection. */
  end(): void {}

  get_id_string(): string {
    return 'pipe';
  }
}

/**
 * The AMQP engine of one connection: rhea without a socket, without timers, and without uncaught exceptions in the event loop. Its input must have
 * passed a `FrameValidator`.
 */
export class RheaEngine {
  readonly #connection: ConnectionInternals;
  readonly #pipe: Pipe;
  readonly #listener: EngineListener;
  readonly #links = new Map<Session, Set<Sender | Receiver>>();
  /** The number of messages given to each link to send; those beyond its delivery count wait in the engine. */
  readonly #given = new WeakMap<Sender, number>();
  #feeding = false;
  /** Number of callers that hold answers back. */
  #holds = 0;

  constructor({ sasl, maxMessageBytes, listener }: EngineOptions) {
    this.#listener = listener;
    this.#pipe = new Pipe((bytes) => listener.write(bytes));
    const container = rhea.create_container({ id: 'culvert' });
    // Without a prototype, because a mechanism is looked up by the name that the peer sends.
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
   * Writes nothing except a close until the returned function is called, once. A link that the peer has attached is then answered with the state
   * that it has at that time.
   */
  holdAnswers(): () => void {
    this.#holds++;
    return () => {
      if (this.#holds === 0) return;
      this.#holds--;
      this.#connection._process();
    };
  }

  /** Closes the connection, with the error if there is one. The close is written in the next tick; it cannot be sent during the SASL exchange. */
  close(error?: CulvertError): void {
    const wereHeld = this.#holds > 0;
    this.#holds = 0;
    // An open must be sent before a close (AMQP 1.0 §2.4.3).
    this.#connection.open();
    this.#connection.close(error === undefined ? undefined : amqpError(error));
    // The callback that rhea registered may have run already, while answers were held.
    if (wereHeld) process.nextTick(() => this.#connection._process());
  }

  /** Whether a message given to the link now would be sent at once. */
  canSend(link: Sender): boolean {
    const { credit, session } = link as SenderInternals;
    const { outgoing } = session;
    const waiting = outgoing.next_delivery_id - outgoing.next_pending_delivery;
    return (
      link.is_open() && credit > this.#unsent(link) && outgoing.transfer_window() > waiting && outgoing.available() > 0
    );
  }

  /** Sends an encoded message, already settled if the peer has asked for that. */
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
          // rhea writes the outcome when the promise returned here is fulfilled; that happens before the second microtask from now.
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
    on('message', (context) => this.#messageReceived(context));
    for (const outcome of OUTCOMES) on(outcome, ({ delivery }) => delivery && this.#disposed(delivery, outcome));
    // Without a listener, rhea would throw each of these in the event loop or print it.
    for (const event of ['error', 'protocol_error']) connection.on(event, (reason: unknown) => this.#failed(reason));
    for (const event of ['connection_error', 'disconnected']) connection.on(event, () => {});
  }

  #receiverOpened(receiver: ReceiverInternals): void {
    // rhea begins to count at zero, whatever initial delivery count the peer gives.
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

  /** Reports a session's links as closed, because rhea removes them without an event. */
  #sessionClosed(session: Session): void {
    const links = this.#links.get(session) ?? [];
    this.#links.delete(session);
    for (const link of links) this.#listener.linkClosed(link);
  }

  #messageReceived({ receiver, message, delivery }: EventContext): void {
    if (receiver === undefined || message === undefined || delivery === undefined) return;
    const { incoming } = receiver.session as SessionInternals;
    // Delivery ids and counts are 32-bit serial numbers (AMQP 1.0 §2.8.10). rhea counts beyond 32 bits, and then cannot encode the number.
    if (incoming.next_delivery_id !== undefined) incoming.next_delivery_id >>>= 0;
    (receiver as ReceiverInternals).delivery_count >>>= 0;
    this.#listener.message(receiver, message, delivery);
  }

  #disposed(delivery: Delivery, outcome: Outcome): void {
    // A receiver in mode `second` waits until the hub has settled too (§2.6.12).
    if (!delivery.remote_settled) delivery.update(true);
    this.#listener.disposed(delivery, outcome);
  }

  #failed(reason: unknown): void {
    if (!this.#feeding) {
      this.#listener.failed(CulvertError.from(reason));
      return;
    }
    const detail = reason instanceof Error ? printable(reason.message, 128) : 'unknown';
    this.#listener.failed(new CulvertError('protocol_error', `The AMQP engine failed: ${detail}.`, { cause: reason }));
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (reason) {
      this.#listener.failed(CulvertError.from(reason));
    }
  }
}

/** Keeps rhea from setting timers by an idle-time-out: the hub has its own. The number is still announced to the peer. */
function withoutTimer(open: object): void {
  Object.defineProperty(open, 'idle_time_out', { value: undefined });
}
