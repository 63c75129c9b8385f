import { CulvertError, type DeviceConnectionString, isVersionWithin, type OfferedServices } from '@culvert/protocol';
import {
  type DeviceSession,
  DeviceSessions,
  type LinkOffer,
  linkOverDuplex,
  nodeEnvironment,
  type SessionConnection,
  type SessionEnd,
} from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import type { Clock } from '@culvert/stream';
import { ConnectionOffer } from './connection-offer.ts';
import { Openings } from './openings.ts';
import { type ExistingSession, type SessionKeyOptions, SessionKeys } from './session-keys.ts';
import type { StreamOffer } from './stream-offer.ts';

/** The versions of the session's protocol that this device speaks. */
export const SESSION_VERSIONS = { lowest: 1, highest: 1 } as const;

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

/** What happened to a session, for logs. */
export type SessionEvent =
  | { readonly type: 'session-linked'; readonly sessionId: string; readonly caller: string; readonly isFirst: boolean }
  | { readonly type: 'session-link-lost'; readonly sessionId: string; readonly connections: number }
  | {
      readonly type: 'session-ended';
      readonly sessionId: string;
      readonly reason: SessionEnd['reason'];
      readonly text: string;
    }
  | { readonly type: 'session-link-refused'; readonly caller: string; readonly text: string }
  /** A raw stream or an unencrypted session was refused, because this device accepts encrypted sessions only. */
  | { readonly type: 'unencrypted-refused'; readonly caller: string; readonly text: string }
  /** The device has no key, so nothing is encrypted end to end. Comes once, when the client is opened first. */
  | { readonly type: 'no-session-key' }
  /** The device's key is in use. Comes once, when the client is opened first. */
  | { readonly type: 'session-key'; readonly fingerprint: Fingerprint };

/** An encrypted or unencrypted link, as the device remembers it. */
interface ServedLink extends LinkOffer {
  readonly isEncrypted: boolean;
  readonly key: Fingerprint | undefined;
}

/** Serves sessions: accepts the streams that carry them, and passes each of their connections to the program as an offer. */
export class SessionServer {
  readonly #onStream: (offer: StreamOffer) => void | Promise<void>;
  readonly #sessions: DeviceSessions;
  readonly #openings: Openings;
  /** The newest stream of each session. */
  readonly #streams = new WeakMap<DeviceSession, ServedLink>();
  readonly #keys: SessionKeys;
  readonly #onEvent: (event: SessionEvent) => void;
  #hasTold = false;

  /** @throws CulvertError `argument_invalid` when encryption is demanded without a key */
  constructor(
    address: Pick<DeviceConnectionString, 'host' | 'port' | 'deviceId' | 'moduleId'>,
    options: SessionServerOptions & {
      readonly clock: Clock;
      readonly onStream: (offer: StreamOffer) => void | Promise<void>;
    },
  ) {
    const { onEvent = () => undefined } = options;
    const { deviceId, moduleId } = address;
    this.#onStream = options.onStream;
    this.#onEvent = onEvent;
    this.#keys = new SessionKeys(address, options.clock, options);
    this.#openings = new Openings(options.clock);
    this.#sessions = new DeviceSessions({
      environment: nodeEnvironment,
      deviceId,
      moduleId: moduleId ?? '',
      retentionSeconds: options.retentionSeconds,
      budgetBytes: options.budgetBytes,
      opened: (connection, session) => this.#opened(connection, session),
      linkProven: (session, offer) => {
        const isFirst = !this.#streams.has(session);
        this.#streams.set(session, offer as ServedLink);
        onEvent({ type: 'session-linked', sessionId: hex(session.id), caller: offer.caller, isFirst });
      },
      linkLost: (session) =>
        onEvent({ type: 'session-link-lost', sessionId: hex(session.id), connections: session.size }),
      closed: (session, { reason, text }) =>
        onEvent({ type: 'session-ended', sessionId: hex(session.id), reason, text }),
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
   * @throws CulvertError as `StreamOffer.accept`, and what the program throws
   */
  async handle(offer: StreamOffer): Promise<void> {
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
    else await this.#accept(offer, session.id, encrypted, existing);
  }

  #takes({ session }: StreamOffer): boolean {
    return session !== undefined && isVersionWithin(SESSION_VERSIONS.highest, session);
  }

  /** Accepts the offer; the stream becomes a link of its session. */
  async #accept(offer: StreamOffer, id: string, encrypted: boolean, existing: ExistingSession): Promise<void> {
    const { streamId, caller = '', services, idleMs } = offer;
    const stream = await offer.accept({ session: { version: SESSION_VERSIONS.highest, encrypted } });
    const sessionId = Buffer.from(id, 'hex');
    const link = { sessionId, streamId, caller, mayOpen: mayOpen(services), idleMs };
    if (!encrypted) {
      const served: ServedLink = { ...link, isEncrypted: false, key: undefined };
      linkOverDuplex(stream, NO_BINDING, (transport) => this.#sessions.accept(transport, served));
      return;
    }
    try {
      const { duplex, binding, peer } = await this.#keys.secure(stream, existing);
      const key = peer.fingerprint;
      const served: ServedLink = { ...link, isEncrypted: true, key, peerKey: key };
      linkOverDuplex(duplex, binding, (transport) => this.#sessions.accept(transport, served));
    } catch (error) {
      // `secure` may have failed before the stream was TLS's.
      const { code, message } = CulvertError.from(error);
      if (code !== 'key_refused') stream.on('error', () => undefined).destroy();
      this.#onEvent({ type: 'session-link-refused', caller, text: message });
    }
  }

  #find(id: string): ExistingSession {
    const session = this.#sessions.sessions.find((candidate) => hex(candidate.id) === id);
    const link = session === undefined ? undefined : this.#streams.get(session);
    return link === undefined ? undefined : { isEncrypted: link.isEncrypted, peerKey: link.key };
  }

  /** Open connections. */
  get connections(): number {
    return this.#sessions.connections;
  }

  /** Refuses new connections; each session ends when its last connection is over. */
  drain(): void {
    this.#sessions.drain();
  }

  /** Takes new sessions again, after {@link drain}. */
  reopen(): void {
    this.#sessions.reopen();
  }

  /** Ends all sessions with a reason. */
  close(text: string): void {
    this.#sessions.close(text);
  }

  #opened(connection: SessionConnection, session: DeviceSession): void {
    const { streamId, caller } = this.#streams.get(session) ?? { streamId: undefined, caller: undefined };
    // From now on it keeps what the service side sends before the answer.
    const offer = new ConnectionOffer(connection, { streamId, caller });
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

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const NO_BINDING = new Uint8Array(0);
