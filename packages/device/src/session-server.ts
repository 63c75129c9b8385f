import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import {
  CulvertError,
  type Identity,
  isVersionWithin,
  type OfferedServices,
  type SessionReport,
} from '@culvert/protocol';
import {
  ConnectionDuplex,
  ConnectionReports,
  callApart,
  type DeviceSession,
  DeviceSessions,
  endsSession,
  type LinkOffer,
  linkOverDuplex,
  nodeEnvironment,
  SESSION_VERSIONS,
  type SessionConnection,
} from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import { type Clock, inBackground, systemClock, type Timer } from '@culvert/stream';
import { ConnectionOffer } from './connection-offer.ts';
import { Openings } from './openings.ts';
import { ReportPace } from './report-pace.ts';
import type { SessionEvent } from './session-event.ts';
import { type ExistingSession, type SessionKeyOptions, SessionKeys } from './session-keys.ts';
import type { StreamOffer } from './stream-offer.ts';

/** Milliseconds that the last bytes of sessions may take to be sent when they are closed. */
const LEAVE_MS = 1_000;

/** How a device serves sessions. */
export interface SessionServerOptions extends SessionKeyOptions {
  /**
   * Seconds for which a session is kept while its link is lost, 1 to 604,800 (a week); default 900, about as long as TCP itself keeps trying. The
   * lesser of both ends holds.
   */
  readonly retentionSeconds?: number;
  /** Bytes of memory that all sessions may use together beyond their first buffers; default 64 MiB. */
  readonly budgetBytes?: number;
  /** Called when something happened to a session. */
  readonly onEvent?: (event: SessionEvent) => void;
}

/** An encrypted or unencrypted link, as the device remembers it. */
interface ServedLink extends LinkOffer {
  readonly isEncrypted: boolean;
  readonly key: Fingerprint | undefined;
}

/** What an offer asks for, and what the device has of it. */
interface AskedLink {
  /** The session's id. */
  readonly id: string;
  readonly encrypted: boolean;
  readonly existing: ExistingSession;
  readonly hub: string;
}

/** Sends a report to the hub; returns false if there is no connection to it now. */
export type SendReport = (report: SessionReport) => boolean;

/** How a {@link SessionServer} serves the sessions of one device or module. */
export interface ServeSessionsOptions extends SessionServerOptions {
  /** Default: the system clock. */
  readonly clock?: Clock;
  /** Called for each connection that a service side opens in a session; see `DeviceClientOptions.onStream`. */
  readonly onStream: (offer: StreamOffer) => void | Promise<void>;
}

/**
 * Serves sessions: accepts the streams that carry them, and passes each of their connections to the program as an offer. A program that replaces its
 * `DeviceClient`, for example to connect with another key, gives each the same server, so that sessions go on; then it closes the server itself.
 */
export class SessionServer {
  readonly deviceId: string;
  readonly moduleId: string | undefined;
  readonly #onStream: (offer: StreamOffer) => void | Promise<void>;
  readonly #sessions: DeviceSessions;
  readonly #openings: Openings;
  /** The newest stream of each session. */
  readonly #streams = new WeakMap<DeviceSession, ServedLink>();
  readonly #keys: SessionKeys;
  readonly #onEvent: (event: SessionEvent) => void;
  #hasTold = false;
  readonly #reports = new WeakMap<DeviceSession, ConnectionReports>();
  /** The clients over whose control channels reports can be sent. */
  readonly #reporters = new Set<SendReport>();
  readonly #pace: ReportPace;
  readonly #clock: Clock;
  /** Its timers keep the process alive. */
  readonly #timers: Clock;
  /** Called when a session has ended or lost its link. */
  #wakeDrained: () => void = () => undefined;
  /** The streams that carry sessions now. */
  readonly #links = new Set<Duplex>();

  /** @throws CulvertError `argument_invalid` when encryption is demanded without a key */
  constructor({ deviceId, moduleId }: Identity, options: ServeSessionsOptions) {
    const { onEvent: tell = () => undefined, clock = systemClock } = options;
    const onEvent = (event: SessionEvent) => callApart(() => tell(event));
    this.deviceId = deviceId;
    this.moduleId = moduleId;
    this.#onStream = options.onStream;
    this.#onEvent = onEvent;
    this.#keys = new SessionKeys({ deviceId, ...(moduleId === undefined ? {} : { moduleId }) }, clock, options);
    this.#clock = inBackground(clock);
    this.#timers = clock;
    this.#openings = new Openings(clock);
    this.#pace = new ReportPace(clock);
    this.#sessions = new DeviceSessions({
      environment: nodeEnvironment,
      deviceId,
      moduleId: moduleId ?? '',
      retentionSeconds: options.retentionSeconds,
      budgetBytes: options.budgetBytes,
      opened: (connection, session) => {
        this.#reportsOf(session).opened(connection);
        this.#opened(connection, session);
      },
      connectionClosed: (connection, reason, session) => this.#reportsOf(session).closed(connection, reason),
      linkProven: (session, offer) => {
        const isFirst = !this.#streams.has(session);
        this.#streams.set(session, offer as ServedLink);
        const { caller, streamId } = offer;
        onEvent({ type: 'session-linked', sessionId: hex(session.id), streamId, caller, isFirst });
      },
      linkLost: (session) => {
        onEvent({ type: 'session-link-lost', ...this.#about(session), connections: session.size });
        this.#wakeDrained();
      },
      closed: (session, { reason, text }) => {
        const reports = this.#reportsOf(session);
        onEvent({ type: 'session-ended', ...this.#about(session), reason, text, unreported: reports.dropped });
        reports.end();
        this.#wakeDrained();
      },
      linkRefused: (text, caller) => onEvent({ type: 'session-link-refused', caller, text }),
    });
  }

  /** Whether sessions can be encrypted. */
  get encrypts(): boolean {
    return this.#keys.hasKey;
  }

  /**
   * Reads the files of keys; undefined when there are none.
   * @throws CulvertError `config_invalid`
   */
  load(): Promise<void> | undefined {
    if (this.#keys.needsLoading) return this.#keys.load().then(() => this.#tellKey());
    this.#tellKey();
    return undefined;
  }

  #tellKey(): void {
    if (this.#hasTold) return;
    this.#hasTold = true;
    const { fingerprint } = this.#keys;
    this.#onEvent(fingerprint === undefined ? { type: 'no-session-key' } : { type: 'session-key', fingerprint });
  }

  /**
   * Answers an offer: a stream that asks for a session becomes a link of it, any other is the program's. Both are refused where the device's keys demand
   * more encryption than they have.
   * @param hub where the offer came from, as in connection strings, `HOST` or `HOST:PORT`: certificates of services may be for one hub
   * @throws CulvertError as `StreamOffer.accept`, and what the program throws
   */
  async handle(offer: StreamOffer, hub: string): Promise<void> {
    const session = this.#takes(offer) ? offer.session : undefined;
    const existing = session === undefined ? undefined : this.#find(session.id);
    const encrypted = session?.encrypted === true && this.#keys.hasKey;
    const decision = this.#keys.decide({
      offer: session === undefined ? 'raw' : encrypted ? 'encrypted-session' : 'session',
      existing: existing === undefined ? undefined : existing.isEncrypted ? 'encrypted-session' : 'session',
      name: offer.name,
    });
    if (decision.action === 'reject') {
      this.#onEvent({ type: 'unencrypted-refused', caller: offer.caller ?? '', text: decision.reason });
      await offer.reject(decision.reason);
    } else if (session === undefined) await this.#onStream(offer);
    else await this.#accept(offer, { id: session.id, encrypted, existing, hub });
  }

  #takes({ session }: StreamOffer): boolean {
    return session !== undefined && isVersionWithin(SESSION_VERSIONS.highest, session);
  }

  /** Accepts the offer; the stream becomes a link of its session. */
  async #accept(offer: StreamOffer, asked: AskedLink): Promise<void> {
    const { streamId, caller = '', services, idleMs } = offer;
    const { id, encrypted, existing, hub } = asked;
    const stream = await offer.accept({ session: { version: SESSION_VERSIONS.highest, encrypted } });
    const sessionId = Buffer.from(id, 'hex');
    const link = { sessionId, streamId, caller, mayOpen: mayOpen(services), idleMs };
    if (!encrypted) {
      this.#serve(stream, { duplex: stream, binding: NO_BINDING }, { ...link, isEncrypted: false, key: undefined });
      return;
    }
    // Files are read before TLS has the stream, which may fail meanwhile.
    stream.on('error', IGNORE);
    try {
      const secure = await this.#keys.secure(stream, hub, existing);
      const key = secure.peer.fingerprint;
      this.#serve(stream, secure, { ...link, isEncrypted: true, key, peerKey: key });
    } catch (error) {
      // `secure` may have failed before the stream was TLS's.
      const { code, message } = CulvertError.from(error);
      if (code !== 'key_refused') stream.destroy();
      this.#onEvent({ type: 'session-link-refused', caller, text: message });
    }
  }

  /** Uses the stream, or the TLS connection inside it, as a link. */
  #serve(
    stream: Duplex,
    { duplex, binding }: { readonly duplex: Duplex; readonly binding: Uint8Array },
    link: ServedLink,
  ): void {
    const failed = (error: Error): boolean => this.#linkFailed(error, link);
    if (!stream.closed) this.#links.add(stream);
    stream.once('close', () => this.#links.delete(stream));
    // TLS passes on that the stream below has failed, but not how.
    if (link.isEncrypted) stream.on('error', failed);
    linkOverDuplex(duplex, binding, (transport) => this.#sessions.accept(transport, link), failed);
  }

  #find(id: string): ExistingSession {
    const session = this.#sessions.sessions.find((candidate) => hex(candidate.id) === id);
    const link = session === undefined ? undefined : this.#streams.get(session);
    return link === undefined ? undefined : { isEncrypted: link.isEncrypted, peerKey: link.key };
  }

  /**
   * Sends reports on the connections of sessions with this function too.
   * @returns a function that removes it
   * @internal
   */
  reportWith(send: SendReport): () => void {
    this.#reporters.add(send);
    return () => this.#reporters.delete(send);
  }

  /** Open connections. */
  get connections(): number {
    return this.#sessions.connections;
  }

  /** Sessions, with or without a link. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Refuses new connections; each session ends when its last connection is over. */
  drain(): void {
    this.#sessions.drain();
  }

  /**
   * Resolves when every session that has a link is over, so that the service sides have received all bytes, or after `ms` milliseconds. A session whose
   * link is lost is not waited for. Call {@link drain} before.
   */
  async drained(ms: number): Promise<void> {
    const isDone = (): boolean => !this.#sessions.sessions.some(({ isUp }) => isUp);
    if (ms <= 0 || isDone()) return;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      timer = this.#timers.setTimer(ms, resolve);
      this.#wakeDrained = () => {
        if (isDone()) resolve();
      };
    });
    timer?.cancel();
    this.#wakeDrained = () => undefined;
  }

  /** Takes new sessions again, after {@link drain}. */
  reopen(): void {
    this.#sessions.reopen();
  }

  /** Ends all sessions with the reason `draining` and this text. Resolves when the service sides were told, after at most a second. */
  async close(text: string): Promise<void> {
    this.#sessions.close(text);
    const sent = [...this.#links].filter((link) => !link.writableFinished && !link.destroyed).map(finished);
    if (sent.length === 0) return;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = systemClock.setTimer(LEAVE_MS, resolve);
    });
    await Promise.race([Promise.all(sent), late]);
    timer?.cancel();
  }

  /** The hub or the gateway has ended a link. Returns whether the session is over with it: not if another caller's stream names the same session. */
  #linkFailed(error: Error, { sessionId, caller }: LinkOffer): boolean {
    if (!endsSession(error)) return false;
    const session = this.#sessions.sessions.find(({ id }) => Buffer.compare(id, sessionId) === 0);
    if (session === undefined || this.#streams.get(session)?.caller !== caller) return false;
    for (const { events } of [...session.connections]) {
      if (events instanceof ConnectionDuplex) events.destroy(error);
    }
    session.close({ reason: 'closed', text: error.message, byPeer: false });
    return true;
  }

  #about(session: DeviceSession): { readonly sessionId: string; readonly caller: string } {
    return { sessionId: hex(session.id), caller: this.#streams.get(session)?.caller ?? '' };
  }

  #reportsOf(session: DeviceSession): ConnectionReports {
    let reports = this.#reports.get(session);
    if (reports === undefined) {
      const send = (report: SessionReport) =>
        this.#pace.allows && [...this.#reporters].some((reporter) => reporter(report));
      reports = new ConnectionReports({ sessionId: hex(session.id), clock: this.#clock, send });
      this.#reports.set(session, reports);
    }
    return reports;
  }

  #opened(connection: SessionConnection, session: DeviceSession): void {
    const { streamId, caller } = this.#streams.get(session) ?? { streamId: undefined, caller: undefined };
    // From now on it keeps what the service side sends before the answer.
    const offer = new ConnectionOffer(connection, { streamId, caller, sessionId: hex(session.id) });
    this.#openings.run(
      connection.service,
      (done) => {
        if (offer.pending) void this.#handle(offer, done);
        else done();
      },
      () => connection.refuse('timed_out', 'The device opens too many connections at once.'),
    );
  }

  /** As for offers of streams: an error is the reason of a refusal, and an offer that is not answered is refused. */
  async #handle(offer: ConnectionOffer, done: () => void): Promise<void> {
    offer.onAnswered = done;
    try {
      await this.#onStream(offer);
      if (offer.pending) await offer.reject('The device did not answer the offer.');
    } catch (error) {
      const isCulvertError = error instanceof CulvertError;
      if (!isCulvertError) process.emitWarning(error instanceof Error ? error : new Error(String(error)));
      if (offer.pending) await offer.reject(isCulvertError ? error.message : 'The device failed to handle the offer.');
    } finally {
      // A program that gave up without an answer, because the service side was gone, has freed its socket by now.
      done();
    }
  }
}

function mayOpen(services: OfferedServices | undefined): (service: string) => boolean {
  if (services === undefined || services === '*') return () => true;
  const names = new Set(services);
  return (service) => names.has(service);
}

/** Resolves when everything was written, or never will be. */
async function finished(stream: Duplex): Promise<void> {
  await Promise.race([once(stream, 'finish'), once(stream, 'close')]).catch(() => undefined);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const NO_BINDING = new Uint8Array(0);

const IGNORE = (): void => undefined;
