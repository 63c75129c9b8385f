import { type ErrorCode, type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { ControlProtocol } from './door.ts';
import type { EventSink } from './events.ts';

/** When and why a device's control channel last ended. */
export interface LastDisconnect {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly error: ErrorCode;
  readonly detail: string;
  readonly protocol: ControlProtocol;
}

/** Looks it up; undefined when it is not known. */
export type LastDisconnectOf = (identity: Identity) => Promise<LastDisconnect | undefined>;

/** Identities remembered: those that went last; an entry takes about 300 bytes. */
const MAX_REMEMBERED = 10_000;

const UNKNOWN: LastDisconnectOf = () => Promise.resolve(undefined);

/** The last disconnects since the hub started, of the identities that went last; of others, what an older memory knows. */
export class RecentDisconnects {
  readonly #clock: Clock;
  readonly #older: LastDisconnectOf;
  /** By identity name, the one that went longest ago first. */
  readonly #last = new Map<string, LastDisconnect>();

  /** @param older asked where this one knows nothing; what it cannot say is not known */
  constructor(clock: Clock, older: LastDisconnectOf = UNKNOWN) {
    this.#clock = clock;
    this.#older = older;
  }

  /** A sink for the hub's events. */
  readonly observe: EventSink = (event) => {
    if (event.type !== 'device-detached') return;
    const { protocol, error, detail } = event;
    const name = identityName(event);
    this.#last.delete(name);
    this.#last.set(name, { at: this.#clock.now(), error, detail, protocol });
    if (this.#last.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#last.keys();
    if (oldest !== undefined) this.#last.delete(oldest);
  };

  readonly of: LastDisconnectOf = async (identity) => {
    const recent = this.#last.get(identityName(identity));
    // Presence does not fail with the log: that it cannot be read is told elsewhere.
    return recent ?? this.#older(identity).catch(() => undefined);
  };
}
