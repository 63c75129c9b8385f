import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { ConnectionDuplex, type ConnectionEvents, type SessionConnection } from '@culvert/session';
import { abortReason } from '@culvert/stream';
import type { AcceptOptions, StreamOffer } from './stream-offer.ts';

/** A connection that the service side opens in a session, as an offer: a program answers it as it answers a stream. */
export class ConnectionOffer implements StreamOffer {
  readonly name: string;
  readonly streamId: string | undefined;
  readonly caller: string | undefined;
  readonly sessionId: string | undefined;
  readonly #connection: SessionConnection;
  readonly #duplex: ConnectionDuplex;
  /** Called once, when the offer was answered. Not when the service side gives up: the program may still be connecting to its target. */
  onAnswered: () => void = IGNORE;
  #answer: 'accepted' | 'rejected' | undefined;
  #isAborted = false;

  constructor(
    connection: SessionConnection,
    { streamId, caller, sessionId }: Pick<StreamOffer, 'streamId' | 'caller' | 'sessionId'>,
  ) {
    this.name = connection.service;
    this.streamId = streamId;
    this.caller = caller;
    this.sessionId = sessionId;
    this.#connection = connection;
    this.#duplex = new ConnectionDuplex();
    this.#duplex.start(connection);
    // Until the program has the Duplex, its errors are reported by the promise of `accept`.
    this.#duplex.on('error', IGNORE);
    connection.events = this.#events();
  }

  /** Whether the offer may still be answered. */
  get pending(): boolean {
    return this.#answer === undefined && !this.#isAborted;
  }

  async accept({ signal }: AcceptOptions = {}): Promise<Duplex> {
    if (signal?.aborted === true) throw abortReason(signal);
    this.#markAnswered('accepted');
    this.#connection.events = this.#duplex;
    this.#connection.accept();
    // As soon as the caller's code runs it can listen itself.
    setImmediate(() => this.#duplex.off('error', IGNORE));
    return this.#duplex;
  }

  acceptWebSocket(): Promise<never> {
    const advice = 'Use accept(), or create the client with session: false.';
    return Promise.reject(
      new CulvertError('argument_invalid', `A connection of a session has no WebSocket. ${advice}`),
    );
  }

  async reject(reason = ''): Promise<void> {
    this.#markAnswered('rejected');
    this.#connection.refuse('refused', reason);
  }

  #markAnswered(how: 'accepted' | 'rejected'): void {
    if (this.#isAborted) throw new CulvertError('withdrawn', 'The service side has closed the connection.');
    if (this.#answer !== undefined)
      throw new CulvertError('argument_invalid', `The offer has already been ${this.#answer}.`);
    this.#answer = how;
    this.onAnswered();
  }

  /** What arrives before the answer: at most 8 KiB and an end, which the Duplex keeps for the program. */
  #events(): ConnectionEvents {
    const duplex = this.#duplex;
    return {
      data: (bytes) => duplex.data(bytes),
      ended: () => duplex.ended(),
      drained: () => duplex.drained(),
      aborted: (reason, text, isRefusal) => {
        this.#isAborted = true;
        duplex.aborted(reason, text, isRefusal);
      },
    };
  }
}

const IGNORE = (): void => undefined;
