import type { Duplex } from 'node:stream';
import { CulvertError, type ErrorCode, type Identity, type SessionAnswer, type SessionReport } from '@culvert/protocol';
import {
  Budget,
  ConnectionDuplex,
  ConnectionReports,
  endsSession,
  linkOverDuplex,
  nodeEnvironment,
  ProcessHold,
  ServiceSession,
  type SessionEnd,
  type Untouched,
} from '@culvert/session';
import { type Clock, inBackground } from '@culvert/stream';
import type { OpenedSessionStream } from '../stream-request.ts';
import { dialFailure } from './dial-failure.ts';

/** The versions of the session's protocol that this client speaks. */
export const SESSION_VERSIONS = { lowest: 1, highest: 1 } as const;

/** Bytes of memory that one session may use beyond its first buffers. */
const BUDGET_BYTES = 67_108_864;

/** Milliseconds for which a session that is told to end may keep the process alive, to take leave of the device. */
const LEAVE_MS = 1_000;

/** What happened to a session, for messages and logs. */
export type ServiceSessionEvent = Identity & {
  /** The session's id in the hub's logs and live view. */
  readonly sessionId: string;
} & (
    | { readonly type: 'session-link-lost'; readonly connections: number }
    | { readonly type: 'session-link-regained'; readonly lostForMs: number }
    | {
        readonly type: 'session-ended';
        readonly reason: SessionEnd['reason'];
        readonly text: string;
        /** Connections of which the hub was not told, because there were too many for its reports. */
        readonly unreported: number;
      }
  );

/** A stream to open for a session. */
export interface SessionStreamRequest {
  readonly sessionId: string;
  /** The stream's name. */
  readonly name: string;
  /** Whether the session exists already: a client that was closed opens no new one. */
  readonly resumes: boolean;
  readonly signal: AbortSignal;
}

export interface DeviceSessionOptions {
  readonly identity: Identity;
  readonly retentionSeconds: number | undefined;
  readonly clock: Clock;
  /** Opens a stream that asks for this session. */
  readonly openStream: (request: SessionStreamRequest) => Promise<OpenedSessionStream>;
  /** Tells the hub about connections of the session. @param streamId a stream that carries it */
  readonly report: (streamId: string, report: SessionReport) => Promise<void>;
  readonly onEvent: (event: ServiceSessionEvent) => void;
  /** The session is over. `untouched` may be opened in another one. */
  readonly ended: (end: SessionEnd, untouched: readonly Untouched[]) => void;
}

/** This client's session with one device or module. */
export class DeviceSession {
  readonly #options: DeviceSessionOptions;
  #session: ServiceSession | undefined;
  /** Name of the first connection's service; later links name it too. */
  readonly #name: string;
  readonly #dialling = new AbortController();
  #lostAt: number | undefined;
  #refusals = 0;
  #first: Duplex | undefined;
  readonly id: string;
  /** What the device chose on the first stream. */
  #answer: SessionAnswer | undefined;
  /** The newest stream that carries the session. */
  #streamId: string | undefined;
  readonly #reports: ConnectionReports;
  /** Held while a connection is open: the sockets and timers of a session alone do not keep the process alive. */
  readonly #hold = new ProcessHold();
  #isOver = false;

  private constructor(options: DeviceSessionOptions, name: string, id: Uint8Array) {
    this.#options = options;
    this.#name = name;
    this.id = Buffer.from(id).toString('hex');
    const clock = inBackground(options.clock);
    this.#reports = new ConnectionReports({ sessionId: this.id, clock, send: (report) => this.#report(report) });
  }

  /**
   * Opens the first stream. Resolves with the session, or with the raw stream of a device that serves no sessions.
   * @throws CulvertError as `ServiceClient.openStream`
   */
  static async start(
    options: DeviceSessionOptions,
    name: string,
    signal: AbortSignal,
  ): Promise<DeviceSession | Pick<OpenedSessionStream, 'stream' | 'noSession'>> {
    const id = nodeEnvironment.random(16);
    const self = new DeviceSession(options, name, id);
    const { stream, streamId, session, noSession, idleMs } = await options.openStream({
      sessionId: self.id,
      name,
      resumes: false,
      signal,
    });
    if (session === undefined) return { stream, noSession };
    self.#answer = session;
    self.#streamId = streamId;
    self.#first = stream;
    self.#start(id, idleMs);
    return self;
  }

  #start(id: Uint8Array, idleMs: number | undefined): void {
    const { identity, retentionSeconds, onEvent } = this.#options;
    const about = { ...identity, sessionId: this.id };
    const session = new ServiceSession({
      id,
      environment: nodeEnvironment,
      budget: new Budget(BUDGET_BYTES),
      deviceId: identity.deviceId,
      moduleId: identity.moduleId ?? '',
      retentionSeconds,
      idleMs,
      dial: () => void this.#dial(),
      events: {
        connectionClosed: (connection, reason) => {
          this.#reports.closed(connection, reason);
          this.#hold.isHeld = session.size > 0;
        },
        linkLost: () => {
          this.#lostAt = nodeEnvironment.now();
          if (session.size > 0) onEvent({ ...about, type: 'session-link-lost', connections: session.size });
          this.#emit('linkLost');
        },
        linkProven: () => {
          if (this.#lostAt === undefined) return;
          const lostForMs = Math.round(nodeEnvironment.now() - this.#lostAt);
          this.#lostAt = undefined;
          if (session.size > 0) onEvent({ ...about, type: 'session-link-regained', lostForMs });
          this.#emit('linkRegained');
        },
        closed: (end, untouched) => this.#ended(end, untouched),
      },
    });
    this.#session = session;
    session.start();
  }

  /** What was agreed. */
  get answer(): SessionAnswer | undefined {
    return this.#answer;
  }

  /** Whether it takes further connections. */
  get takesConnections(): boolean {
    return this.#session?.takesConnections === true;
  }

  /** Opens a connection. Undefined if the session takes no more. */
  open(service: string, duplex: ConnectionDuplex): boolean {
    const connection = this.#session?.open(service, duplex);
    if (connection === undefined) return false;
    this.#reports.opened(connection);
    this.#hold.isHeld = true;
    duplex.start(connection);
    return true;
  }

  /** Opens no further connections; ends when the last one is over. */
  drain(): void {
    const session = this.#session;
    if (session === undefined || session.end !== undefined) return;
    session.drain();
    if (session.size > 0 || this.#isOver) return;
    this.#hold.isHeld = true;
    inBackground(this.#options.clock).setTimer(LEAVE_MS, () => {
      this.#hold.isHeld = session.size > 0 && !this.#isOver;
    });
  }

  /** Ends the session and all its connections. */
  close(text: string): void {
    this.#session?.close(text);
  }

  async #dial(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    try {
      const stream = this.#first ?? (await this.#nextLink());
      this.#first = undefined;
      this.#refusals = 0;
      // A link whose error says that nothing may go on, such as a revoked device, ends the session.
      const failed = (error: Error): boolean => {
        if (!endsSession(error)) return false;
        this.#fail(error);
        return true;
      };
      linkOverDuplex(stream, NO_BINDING, (transport) => session.linkReady(transport), failed);
    } catch (error) {
      if (error instanceof CulvertError && error.code === 'unauthorized') this.#refusals++;
      const failure = dialFailure(error, this.#refusals);
      if (failure.end !== undefined) this.#fail(CulvertError.from(error));
      else session.dialFailed(failure);
    }
  }

  /** Ends the session and its connections with this error. */
  #fail(error: CulvertError): void {
    const session = this.#session;
    for (const { events } of [...(session?.connections ?? [])])
      if (events instanceof ConnectionDuplex) events.destroy(error);
    session?.close(error.message);
  }

  async #report(report: SessionReport): Promise<boolean> {
    if (this.#streamId === undefined) return false;
    try {
      await this.#options.report(this.#streamId, report);
      return true;
    } catch (error) {
      if (error instanceof CulvertError && PASSING.has(error.code)) return false;
      throw error;
    }
  }

  async #nextLink(): Promise<Duplex> {
    const { stream, streamId, session } = await this.#options.openStream({
      sessionId: this.id,
      name: this.#name,
      resumes: true,
      signal: this.#dialling.signal,
    });
    if (session !== undefined) {
      this.#streamId = streamId ?? this.#streamId;
      return stream;
    }
    // The device would take it for a connection of its own.
    stream.on('error', () => undefined).destroy();
    throw new CulvertError('protocol_error', 'The device serves no sessions any more.');
  }

  #ended(end: SessionEnd, untouched: readonly Untouched[]): void {
    this.#isOver = true;
    this.#hold.isHeld = false;
    this.#dialling.abort(new CulvertError('aborted', 'The session is over.'));
    const { identity, onEvent, ended } = this.#options;
    const unreported = this.#reports.dropped;
    this.#reports.end();
    onEvent({ ...identity, sessionId: this.id, type: 'session-ended', reason: end.reason, text: end.text, unreported });
    ended(end, untouched);
  }

  #emit(event: 'linkLost' | 'linkRegained'): void {
    for (const { events } of this.#session?.connections ?? [])
      if (events instanceof ConnectionDuplex) events.emit(event);
  }
}

/** Errors of a report after which the next one may be taken. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['too_many_requests', 'unreachable', 'draining']);

const NO_BINDING = new Uint8Array(0);
