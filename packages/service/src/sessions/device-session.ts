import type { Duplex } from 'node:stream';
import {
  CulvertError,
  type ErrorCode,
  type Identity,
  printable,
  type SessionAnswer,
  type SessionReport,
} from '@culvert/protocol';
import {
  Budget,
  ConnectionDuplex,
  ConnectionReports,
  callApart,
  endsSession,
  linkOverDuplex,
  nodeEnvironment,
  ProcessHold,
  ServiceSession,
  type SessionConnection,
  type SessionEnd,
} from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import { type Clock, inBackground } from '@culvert/stream';
import type { OpenedSessionStream } from '../stream-request.ts';
import { type DeviceTrust, modeOf } from './device-trust.ts';
import { dialFailure } from './dial-failure.ts';
import { failReceiver } from './fail-receiver.ts';
import { type CountedDuplex, watchLinkAge } from './link-age.ts';
import type { ServiceSessionEvent } from './session-event.ts';

/** Bytes of memory that one session may use beyond its first buffers. */
const BUDGET_BYTES = 67_108_864;

/** Milliseconds for which a session that is told to end may keep the process alive, to take leave of the device. */
const LEAVE_MS = 1_000;

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
  readonly trust: DeviceTrust;
  readonly clock: Clock;
  /** Opens a stream that asks for this session. */
  readonly openStream: (request: SessionStreamRequest) => Promise<OpenedSessionStream>;
  /** Tells the hub about connections of the session. @param streamId a stream that carries it */
  readonly report: (streamId: string, report: SessionReport) => Promise<void>;
  readonly onEvent: (event: ServiceSessionEvent) => void;
  /** The device refuses a connection since it is about to stop; it is to be opened in another session. */
  readonly turnedAway: (connection: SessionConnection) => void;
  /** The session is over. `unopened` are to be opened in another one. */
  readonly ended: (end: SessionEnd, unopened: readonly SessionConnection[]) => void;
}

/** A stream as a link, encrypted or not. */
interface ReadyLink {
  readonly duplex: Duplex;
  /** See `linkOverDuplex`. */
  readonly binding: Uint8Array;
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
  #first: ReadyLink | undefined;
  /** The device's key on the first link; undefined in a session without encryption. */
  #deviceKey: Fingerprint | undefined;
  /** Why the last link could not be opened; undefined while there is a link. */
  #dialError: CulvertError | undefined;
  readonly #dialFailures = new Set<() => void>();
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
    this.#options = { ...options, onEvent: (event) => callApart(() => options.onEvent(event)) };
    this.#name = name;
    this.id = Buffer.from(id).toString('hex');
    const clock = inBackground(options.clock);
    this.#reports = new ConnectionReports({ sessionId: this.id, clock, send: (report) => this.#report(report) });
  }

  /**
   * Opens the first stream. Resolves with the session, or with the raw stream of a device that serves no sessions.
   * @throws CulvertError as `ServiceClient.openStream`; `encryption_required`, `key_changed`, `key_refused`
   */
  static async start(
    options: DeviceSessionOptions,
    name: string,
    signal: AbortSignal,
  ): Promise<DeviceSession | Pick<OpenedSessionStream, 'stream' | 'noSession'>> {
    const id = nodeEnvironment.random(16);
    const self = new DeviceSession(options, name, id);
    const { identity, trust, onEvent } = self.#options;
    const { stream, streamId, session, noSession, idleMs } = await options.openStream({
      sessionId: self.id,
      name,
      resumes: false,
      signal,
    });
    // Somebody waits for the session, whose sockets and timers do not keep the process alive.
    self.#hold.isHeld = true;
    // Files are read before anybody else listens, and the stream may fail meanwhile.
    stream.on('error', IGNORE);
    try {
      const decision = await trust.decide(identity, modeOf(session));
      if (decision.action === 'go-on-unencrypted' && decision.warning !== undefined) {
        const about = session === undefined ? identity : self.#about;
        onEvent({ ...about, type: 'unencrypted', text: decision.warning });
      }
      if (session === undefined) {
        if (stream.destroyed) throw CulvertError.from(stream.errored ?? undefined, 'stream_lost');
        setImmediate(() => stream.off('error', IGNORE));
        return { stream, noSession };
      }
      self.#first =
        decision.action === 'encrypt' ? await self.#encrypt(stream, signal) : { duplex: stream, binding: UNENCRYPTED };
    } catch (error) {
      discard(stream);
      throw error;
    } finally {
      self.#hold.isHeld = false;
    }
    self.#answer = session;
    self.#streamId = streamId;
    self.#start(id, idleMs);
    return self;
  }

  /** Why the session has no link now, by the last attempt to open one: the device may be offline. Undefined if there is a link, or none has failed yet. */
  get dialError(): CulvertError | undefined {
    return this.#dialError;
  }

  /**
   * Calls `failed` after each attempt to open a link that fails.
   * @returns a function that ends this
   */
  onDialFailed(failed: () => void): () => void {
    this.#dialFailures.add(failed);
    return () => this.#dialFailures.delete(failed);
  }

  #start(id: Uint8Array, idleMs: number | undefined): void {
    const { identity, retentionSeconds, onEvent } = this.#options;
    const about = this.#about;
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
          this.#dialError = undefined;
          if (this.#lostAt === undefined) return;
          const lostForMs = Math.round(nodeEnvironment.now() - this.#lostAt);
          this.#lostAt = undefined;
          if (session.size > 0) onEvent({ ...about, type: 'session-link-regained', lostForMs });
          this.#emit('linkRegained');
        },
        turnedAway: (connection) => {
          this.drain();
          this.#options.turnedAway(connection);
          return true;
        },
        ending: ({ reason, text }) => {
          if (reason === 'key_refused') this.#failAll(new CulvertError('key_refused', printable(text, 256)));
        },
        closed: (end, unopened) => this.#ended(end, unopened),
      },
    });
    this.#session = session;
    session.start();
  }

  get #about(): Identity & { readonly sessionId: string } {
    return { ...this.#options.identity, sessionId: this.id };
  }

  /** What was agreed. */
  get answer(): SessionAnswer | undefined {
    return this.#answer;
  }

  /** The device's key, on which its links are encrypted; undefined without encryption. */
  get deviceKey(): Fingerprint | undefined {
    return this.#deviceKey;
  }

  /** Whether it takes further connections. */
  get takesConnections(): boolean {
    return this.#session?.takesConnections === true;
  }

  /** Opens a connection. False if the session takes no more. */
  open(service: string, duplex: ConnectionDuplex): boolean {
    const connection = this.#opened(this.#session?.open(service, duplex));
    if (connection !== undefined) duplex.start(connection);
    return connection !== undefined;
  }

  /** Opens a connection that another session did not open. False if the session takes no more. */
  takeOver(former: SessionConnection): boolean {
    const { service, events } = former;
    const connection = this.#opened(this.#session?.open(service, events, former));
    if (connection !== undefined) events.moved?.(connection);
    return connection !== undefined;
  }

  #opened(connection: SessionConnection | undefined): SessionConnection | undefined {
    if (connection === undefined) return undefined;
    this.#reports.opened(connection);
    this.#hold.isHeld = true;
    return connection;
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
      const { duplex, binding } = this.#first ?? (await this.#nextLink());
      this.#first = undefined;
      this.#refusals = 0;
      const link = linkOverDuplex(duplex, binding, (transport) => session.linkReady(transport), this.#linkFailed);
      if (link.isEncrypted) {
        const clock = inBackground(this.#options.clock);
        watchLinkAge(duplex as CountedDuplex, clock, () => session.replaceLink());
      }
    } catch (error) {
      if (error instanceof CulvertError && error.code === 'unauthorized') this.#refusals++;
      const failure = dialFailure(error, this.#refusals);
      this.#dialError = CulvertError.from(error);
      if (failure.end !== undefined) this.#fail(this.#dialError);
      else session.dialFailed(failure);
      for (const failed of [...this.#dialFailures]) failed();
    }
  }

  /** A link whose error says that nothing may go on, such as a revoked device, ends the session. */
  readonly #linkFailed = (error: Error): boolean => {
    if (!endsSession(error)) return false;
    this.#fail(error);
    return true;
  };

  /** Ends the session and its connections with this error. */
  #fail(error: CulvertError): void {
    this.#failAll(error);
    this.#session?.close(error.message);
  }

  #failAll(error: Error): void {
    for (const { events } of [...(this.#session?.connections ?? [])]) failReceiver(events, error);
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

  /** A further link. One that is raw, or differs in its encryption or its key, is dropped unsent: the session waits for another. */
  async #nextLink(): Promise<ReadyLink> {
    const { identity, trust, openStream, onEvent } = this.#options;
    const { signal } = this.#dialling;
    const request = { sessionId: this.id, name: this.#name, resumes: true, signal };
    const { stream, streamId, session } = await openStream(request);
    // As for the first stream.
    stream.on('error', IGNORE);
    try {
      const existing = this.#deviceKey === undefined ? 'session' : 'encrypted-session';
      const { action } = await trust.decide(identity, modeOf(session), existing);
      const link =
        action === 'encrypt' ? await this.#encrypt(stream, signal) : { duplex: stream, binding: UNENCRYPTED };
      this.#streamId = streamId ?? this.#streamId;
      return link;
    } catch (error) {
      discard(stream);
      const { code, message } = CulvertError.from(error);
      if (REFUSALS.has(code)) onEvent({ ...this.#about, type: 'session-link-refused', text: message });
      throw error;
    }
  }

  async #encrypt(stream: Duplex, signal: AbortSignal): Promise<ReadyLink> {
    const { identity, trust, onEvent } = this.#options;
    // TLS passes on that the stream below has failed, but not how.
    stream.on('error', this.#linkFailed);
    const onFirstUse = (fingerprint: Fingerprint): void =>
      onEvent({ ...this.#about, type: 'device-key-pinned', fingerprint });
    const { duplex, binding, peer } = await trust.secure(stream, identity, {
      first: this.#deviceKey,
      onFirstUse,
      signal,
    });
    this.#deviceKey ??= peer.fingerprint;
    return { duplex, binding };
  }

  #ended(end: SessionEnd, unopened: readonly SessionConnection[]): void {
    this.#isOver = true;
    this.#hold.isHeld = false;
    this.#dialling.abort(new CulvertError('aborted', 'The session is over.'));
    const { onEvent, ended } = this.#options;
    const unreported = this.#reports.dropped;
    this.#reports.end();
    onEvent({ ...this.#about, type: 'session-ended', reason: end.reason, text: end.text, unreported });
    ended(end, unopened);
  }

  #emit(event: 'linkLost' | 'linkRegained'): void {
    for (const { events } of this.#session?.connections ?? [])
      if (events instanceof ConnectionDuplex) callApart(() => events.emit(event));
  }
}

/** Errors of a report after which the next one may be taken. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['too_many_requests', 'unreachable', 'draining']);

/** Errors of a further link that somebody in between may have caused, and that the user is told about. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['protocol_error', 'key_refused']);

/** The binding of a link without encryption. */
const UNENCRYPTED = new Uint8Array(0);

const IGNORE = (): void => undefined;

/** @param stream whose errors somebody listens to */
function discard(stream: Duplex): void {
  stream.destroy();
}
