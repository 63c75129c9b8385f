import {
  CulvertError,
  type Identity,
  parseSessionReport,
  SESSION_REPORT_LIMITS,
  type SessionReport,
  type Side,
} from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { Allowance, KeyedEntries } from './allowance.ts';
import type { EventSink } from './events.ts';
import type { KnownSession, KnownSessions } from './known-sessions.ts';
import type { LatestClaims } from './latest-claims.ts';

/** Reports of one device that are taken at once: as many sessions may report together. */
const DEVICE_BURST = 10;

/** Milliseconds in which one more report of a device is taken: ten sessions, each at its own interval. */
const DEVICE_INTERVAL_MS = 1_000;

/** Closed connections of one device that are recorded as they come: a page of a web site opens a few dozen. */
const RECORDED_BURST = 200;

/** Milliseconds in which one more is recorded. At 1 KB each a device that invents connections all day then writes 86 MB. */
const RECORDED_INTERVAL_MS = 1_000;

/** Why a report was dropped: it came too soon, could not be read, or names no session of the end that sent it. */
export const DROP_REASONS = ['too_often', 'malformed', 'unknown_session'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface SessionReportsOptions {
  readonly known: KnownSessions;
  readonly claims: LatestClaims;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/** Takes the reports of both ends of sessions, each of its own sessions only, and emits what they claim. */
export class SessionReports {
  readonly #options: SessionReportsOptions;
  /** By side and key of the session. */
  readonly #perEnd = allowances(1, SESSION_REPORT_LIMITS.intervalMs);
  /** By device id. */
  readonly #perDevice = allowances(DEVICE_BURST, DEVICE_INTERVAL_MS);
  /** By device id. */
  readonly #recorded = new KeyedEntries(
    () => ({ allowance: new Allowance(RECORDED_BURST, RECORDED_INTERVAL_MS), unrecorded: 0 }),
    ({ allowance }, now) => !allowance.isFull(now),
  );
  readonly #dropped: Record<DropReason, number> = { too_often: 0, malformed: 0, unknown_session: 0 };

  constructor(options: SessionReportsOptions) {
    this.#options = options;
  }

  /** Reports dropped since the start, by reason. */
  get dropped(): Readonly<Record<DropReason, number>> {
    return this.#dropped;
  }

  /** A device or module sent a report on its control channel. It is not told when the report is dropped. */
  fromDevice(identity: Identity, text: string): void {
    const { known, clock } = this.#options;
    const now = clock.now();
    // Before the text is read: reading a report is what a flood of them would cost.
    if (!this.#perDevice.of(identity.deviceId, now).take(now)) {
      this.#drop('too_often');
      return;
    }
    const report = parseSessionReport(text);
    const session = report === undefined ? undefined : known.ofDevice(identity, report.session);
    if (report === undefined) this.#drop('malformed');
    else if (session === undefined) this.#drop('unknown_session');
    else if (this.#take('device', session)) this.#report('device', session, report);
  }

  /**
   * A service sent a report for one of its streams.
   * @param caller the principal's name
   * @throws CulvertError `stream_not_found` for a stream that carries no session or is another caller's; `argument_invalid` for another session than the
   * stream's; `too_many_requests`
   */
  fromService(caller: string, streamId: string, report: SessionReport): void {
    const session = this.#options.known.ofStream(streamId);
    if (session === undefined || session.caller !== caller) {
      this.#drop('unknown_session');
      throw new CulvertError('stream_not_found');
    }
    if (session.sessionId !== report.session) {
      this.#drop('unknown_session');
      throw new CulvertError('argument_invalid', 'The stream carries another session.');
    }
    if (!this.#take('service', session)) {
      const seconds = SESSION_REPORT_LIMITS.intervalMs / 1_000;
      throw new CulvertError('too_many_requests', `An end of a session may report once in ${seconds} s.`);
    }
    this.#report('service', session, report);
  }

  #take(side: Side, { key }: KnownSession): boolean {
    const now = this.#options.clock.now();
    const isTaken = this.#perEnd.of(`${side} ${key}`, now).take(now);
    if (!isTaken) this.#drop('too_often');
    return isTaken;
  }

  #report(claimedBy: Side, session: KnownSession, { connections }: SessionReport): void {
    const { clock, claims, onEvent } = this.#options;
    const { deviceId, moduleId } = session.identity;
    const now = clock.now();
    const quota = this.#recorded.of(deviceId, now);
    const { unrecorded } = quota;
    const closed = connections.filter((connection) => connection.closed !== undefined);
    const recorded = closed.filter(() => quota.allowance.take(now));
    quota.unrecorded = (recorded.length > 0 ? 0 : unrecorded) + closed.length - recorded.length;
    claims.set(session.key, { claimedBy, at: now, connections });
    const { sessionId, streamId, caller } = session;
    onEvent({
      ...{ type: 'session-reported', deviceId, moduleId, sessionId, streamId, caller, claimedBy, at: now, connections },
      ...{ recorded, unrecorded: recorded.length > 0 ? unrecorded : 0 },
    });
  }

  #drop(reason: DropReason): void {
    this.#dropped[reason]++;
  }
}

function allowances(burst: number, intervalMs: number): KeyedEntries<Allowance> {
  return new KeyedEntries(
    () => new Allowance(burst, intervalMs),
    (allowance, now) => !allowance.isFull(now),
  );
}
