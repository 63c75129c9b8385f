import type { Connection, Receiver, Sender, Session } from 'rhea';

// The parts of rhea 3 that are used beyond its documented interface. Each name is in rhea's source, and a test fails if it is missing.

/** The fields of an open by which rhea would set timers. */
interface OpenFields {
  readonly idle_time_out: number | undefined;
}

/** The outgoing deliveries of a session. */
interface Outgoing {
  /** The number of further unsettled deliveries that there is space for. */
  available(): number;
  /** The number of transfers that the peer's window allows. */
  transfer_window(): number;
  /** Id of the next delivery to be created; `next_pending_delivery` is that of the next one to be sent. */
  readonly next_delivery_id: number;
  readonly next_pending_delivery: number;
}

interface Incoming {
  /** Id of the next expected delivery. */
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
  /** Serves an accepted socket. */
  accept(socket: object): void;
  /** Writes pending frames; rhea calls it in a later tick, where an exception would end the process. */
  _process(): void;
};

/** One SASL exchange, in the form that rhea expects. */
export interface SaslMechanism {
  /** True: OK; false: refused. */
  outcome: boolean | undefined;
  readonly username: undefined;
  start(response: Buffer | null | undefined): Promise<void>;
}
