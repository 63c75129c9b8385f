import { type ErrorCode, type Identity, identityName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { EventSink } from './events.ts';
import type { ControlProtocol } from './listener.ts';

/** When and why a device's control channel last ended. */
export interface LastDisconnect {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly error: ErrorCode;
  readonly detail: string;
  readonly protocol: ControlProtocol;
}

/** Looks up the last disconnect of an identity; undefined if none is known. */
export type LastDisconnectOf = (identity: Identity) => Promise<LastDisconnect | undefined>;

/** Maximum identities kept in memory: the most recently disconnected ones. An entry takes about 300 bytes. */
const MAX_REMEMBERED = 10_000;

const UNKNOWN: LastDisconnectOf = () => Promise.resolve(undefined);

/** The last disconnect of each identity: recent disconnects are kept in memory, older ones are looked up in the resource log. */
export class RecentDisconnects {
  readonly #clock: Clock;
  readonly #older: LastDisconnectOf;
  /** By identity name, oldest disconnect first. */
  readonly #last = new Map<string, LastDisconnect>();

  /** @param older the lookup for identities that are not in memory */
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
    // Presence queries must work even if the log cannot be read; that failure is reported elsewhere.
    return recent ?? this.#older(identity).catch(() => undefined);
  };
}
