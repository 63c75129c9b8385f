import type { Connection, Receiver, Sender, Session } from 'rhea';

// The parts of rhea 3 that are used beyond its documented interface. Each name is in its source, and a test fails without it.

/** The numbers of an Open that rhea would arm timers by. */
interface OpenFields {
  readonly idle_time_out: number | undefined;
}

/** The deliveries of one direction of a session. */
interface Outgoing {
  /** Free places for deliveries that are not settled. */
  available(): number;
  /** Transfers the peer's window has room for. */
  transfer_window(): number;
  /** Id of the next delivery made, and of the next one sent. */
  readonly next_delivery_id: number;
  readonly next_pending_delivery: number;
}

interface Incoming {
  /** Id of the delivery that is expected next. */
  next_delivery_id: number | undefined;
}

export type SessionInternals = Session & { readonly outgoing: Outgoing; readonly incoming: Incoming };

export type SenderInternals = Sender & {
  readonly credit: number;
  /** Messages sent on the link. */
  readonly delivery_count: number;
  readonly session: SessionInternals;
  readonly local: { readonly attach: { snd_settle_mode: number | undefined } };
};

export type ReceiverInternals = Receiver & {
  delivery_count: number;
  readonly remote: { readonly attach: { readonly initial_delivery_count: number | null | undefined } };
};

export type ConnectionInternals = Connection & {
  readonly local: { readonly open: OpenFields };
  readonly remote: { readonly open?: OpenFields };
  readonly remote_channel_map: Readonly<Record<number, SessionInternals | undefined>>;
  /** Serves a socket that was accepted. */
  accept(socket: object): void;
  /** Writes what is due; called in a later tick, where an exception would end the process. */
  _process(): void;
};

/** One SASL exchange, as rhea drives it. */
export interface SaslMechanism {
  /** True: OK; false: refused. */
  outcome: boolean | undefined;
  readonly username: undefined;
  start(response: Buffer | null | undefined): Promise<void>;
}
