import { CulvertError, formatOfferedServices, type OfferExtensions } from '@culvert/protocol';
import type { ControlChannel } from '../control/control-channel.ts';
import type { KnownSessions } from '../observe/known-sessions.ts';
import type { ClosedSessions } from './closed-sessions.ts';
import type { RequestedSession } from './requested-session.ts';

/** The limits that hold for a session as a whole; 0 means no limit. */
export interface SessionLimits {
  readonly idleMs: number;
  readonly lifetimeMs: number;
  readonly bytesPerStream: number;
}

export interface SessionAdmissionOptions {
  readonly limits: SessionLimits;
  readonly closed: Pick<ClosedSessions, 'get'>;
  readonly known: Pick<KnownSessions, 'get'>;
  readonly now: () => number;
}

/** Decides whether another stream may carry a session, and what the ends are told of it. */
export class SessionAdmission {
  readonly #options: SessionAdmissionOptions;

  constructor(options: SessionAdmissionOptions) {
    this.#options = options;
  }

  /**
   * @param key of `sessionKey`
   * @throws CulvertError `closed_by_administrator`, `lifetime_ended`, `quota_reached`
   */
  admit({ id }: RequestedSession, key: string): void {
    const { closed, known, limits, now } = this.#options;
    const reason = closed.get(id);
    if (reason !== undefined) throw new CulvertError('closed_by_administrator', reason);
    const session = known.get(key);
    if (session === undefined) return;
    if (limits.lifetimeMs > 0 && now() - session.establishedAt >= limits.lifetimeMs)
      throw new CulvertError('lifetime_ended', 'The session has lived as long as a stream may.');
    if (limits.bytesPerStream > 0 && session.bytes >= limits.bytesPerStream)
      throw new CulvertError('quota_reached', 'The session has carried as much as a stream may.');
  }

  /** Milliseconds without a byte after which a stream ends; undefined when there is no such limit. */
  get idleMs(): number | undefined {
    return this.#options.limits.idleMs === 0 ? undefined : this.#options.limits.idleMs;
  }

  /** What the offer says of the session; nothing to a device that did not announce sessions. */
  offerExtensions(session: RequestedSession | undefined, channel: ControlChannel): OfferExtensions {
    if (session === undefined || channel.announcement?.session === undefined) return {};
    return {
      session: session.text,
      // A policy permits streams to every service of every device.
      services: formatOfferedServices('*'),
      idleMs: this.idleMs === undefined ? undefined : String(this.idleMs),
    };
  }
}
