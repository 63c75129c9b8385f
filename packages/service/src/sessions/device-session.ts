import type { Duplex } from 'node:stream';
import { CulvertError, type ErrorCode, type Identity, printable } from '@culvert/protocol';
import {
  Budget,
  ConnectionDuplex,
  linkOverDuplex,
  nodeEnvironment,
  ServiceSession,
  type SessionEnd,
  type Untouched,
} from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import type { Clock } from '@culvert/stream';
import type { OpenedSessionStream } from '../stream-request.ts';
import { type DeviceTrust, modeOf } from './device-trust.ts';
import { dialFailure, endsSession } from './dial-failure.ts';
import { type CountedDuplex, watchLinkAge } from './link-age.ts';

/** The versions of the session's protocol that this client speaks. */
export const SESSION_VERSIONS = { lowest: 1, highest: 1 } as const;

/** Bytes of memory that one session may use beyond its first buffers. */
const BUDGET_BYTES = 67_108_864;

/** What happened to a session, for messages and logs. */
export type ServiceSessionEvent = Identity &
  (
    | { readonly type: 'session-link-lost'; readonly connections: number }
    | { readonly type: 'session-link-regained'; readonly lostForMs: number }
    | { readonly type: 'session-ended'; readonly reason: SessionEnd['reason']; readonly text: string }
    /** A link was dropped because it does not fit its session, or its key could not be checked; the session asks for another. */
    | { readonly type: 'session-link-refused'; readonly text: string }
    /** The device showed its key for the first time, and it was pinned. */
    | { readonly type: 'device-key-pinned'; readonly fingerprint: Fingerprint }
    /** A raw stream or a session without end-to-end encryption begins; `text` says so in one line. */
    | { readonly type: 'unencrypted'; readonly text: string }
  );

export interface DeviceSessionOptions {
  readonly identity: Identity;
  readonly retentionSeconds: number | undefined;
  readonly trust: DeviceTrust;
  readonly clock: Clock;
  /** Opens a stream that asks for this session. */
  readonly openStream: (sessionId: string, name: string, signal: AbortSignal) => Promise<OpenedSessionStream>;
  readonly onEvent: (event: ServiceSessionEvent) => void;
  /** The session is over. `untouched` may be opened in another one. */
  readonly ended: (end: SessionEnd, untouched: readonly Untouched[]) => void;
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
  #refusal: CulvertError | undefined;
  readonly id: string;

  private constructor(options: DeviceSessionOptions, name: string, id: Uint8Array) {
    this.#options = options;
    this.#name = name;
    this.id = Buffer.from(id).toString('hex');
  }

  /**
   * Opens the first stream. Resolves with the session, or with the raw stream of a device that serves no sessions.
   * @throws CulvertError as `ServiceClient.openStream`; `encryption_required`, `key_changed`, `key_refused`
   */
  static async start(
    options: DeviceSessionOptions,
    name: string,
    signal: AbortSignal,
  ): Promise<DeviceSession | Duplex> {
    const id = nodeEnvironment.random(16);
    const self = new DeviceSession(options, name, id);
    const { identity, trust, onEvent } = options;
    const { stream, session, idleMs } = await options.openStream(self.id, name, signal);
    try {
      const decision = await trust.decide(identity, modeOf(session));
      if (decision.action === 'go-on-unencrypted' && decision.warning !== undefined)
        onEvent({ ...identity, type: 'unencrypted', text: decision.warning });
      if (session === undefined) return stream;
      self.#first =
        decision.action === 'encrypt' ? await self.#encrypt(stream, signal) : { duplex: stream, binding: UNENCRYPTED };
    } catch (error) {
      discard(stream);
      throw error;
    }
    self.#start(id, idleMs);
    stream.on('error', (error) => {
      if (endsSession(error)) self.close(error.message);
    });
    return self;
  }

  /** Why the device ended the session before it had begun: it does not accept this client's key. Undefined if it did not. */
  get refusal(): CulvertError | undefined {
    return this.#refusal;
  }

  #start(id: Uint8Array, idleMs: number | undefined): void {
    const { identity, retentionSeconds, onEvent } = this.#options;
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
        linkLost: () => {
          this.#lostAt = nodeEnvironment.now();
          if (session.size > 0) onEvent({ ...identity, type: 'session-link-lost', connections: session.size });
          this.#emit('linkLost');
        },
        linkProven: () => {
          if (this.#lostAt === undefined) return;
          const lostForMs = Math.round(nodeEnvironment.now() - this.#lostAt);
          this.#lostAt = undefined;
          if (session.size > 0) onEvent({ ...identity, type: 'session-link-regained', lostForMs });
          this.#emit('linkRegained');
        },
        closed: (end, untouched) => this.#ended(end, untouched),
      },
    });
    this.#session = session;
    session.start();
  }

  /** Whether it takes further connections. */
  get takesConnections(): boolean {
    return this.#session?.takesConnections === true;
  }

  /** Opens a connection. Undefined if the session takes no more. */
  open(service: string, duplex: ConnectionDuplex): boolean {
    const connection = this.#session?.open(service, duplex);
    if (connection === undefined) return false;
    duplex.start(connection);
    return true;
  }

  /** Opens no further connections; ends when the last one is over. */
  drain(): void {
    this.#session?.drain();
  }

  /** Ends the session and all its connections. */
  close(text: string): void {
    this.#session?.close(text);
  }

  async #dial(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    // A link whose error says that nothing may go on, such as a revoked device, ends the session.
    const failed = (error: Error): boolean => {
      if (endsSession(error)) session.close(error.message);
      return endsSession(error);
    };
    try {
      const { duplex, binding } = this.#first ?? (await this.#nextLink(failed));
      this.#first = undefined;
      this.#refusals = 0;
      const link = linkOverDuplex(duplex, binding, (transport) => session.linkReady(transport), failed);
      if (link.isEncrypted) watchLinkAge(duplex as CountedDuplex, this.#options.clock, () => session.replaceLink());
    } catch (error) {
      if (error instanceof CulvertError && error.code === 'unauthorized') this.#refusals++;
      session.dialFailed(dialFailure(error, this.#refusals));
    }
  }

  /** A further link. One that is raw, or differs in its encryption or its key, is dropped unsent: the session waits for another. */
  async #nextLink(failed: (error: Error) => boolean): Promise<ReadyLink> {
    const { identity, trust, openStream, onEvent } = this.#options;
    const { signal } = this.#dialling;
    const { stream, session } = await openStream(this.id, this.#name, signal);
    // TLS passes on that the stream below has failed, but not how.
    stream.on('error', failed);
    try {
      const existing = this.#deviceKey === undefined ? 'session' : 'encrypted-session';
      const { action } = await trust.decide(identity, modeOf(session), existing);
      return action === 'encrypt' ? await this.#encrypt(stream, signal) : { duplex: stream, binding: UNENCRYPTED };
    } catch (error) {
      discard(stream);
      const { code, message } = CulvertError.from(error);
      if (REFUSALS.has(code)) onEvent({ ...identity, type: 'session-link-refused', text: message });
      throw error;
    }
  }

  async #encrypt(stream: Duplex, signal: AbortSignal): Promise<ReadyLink> {
    const { identity, trust, onEvent } = this.#options;
    const onFirstUse = (fingerprint: Fingerprint): void =>
      onEvent({ ...identity, type: 'device-key-pinned', fingerprint });
    const { duplex, binding, peer } = await trust.secure(stream, identity, {
      first: this.#deviceKey,
      onFirstUse,
      signal,
    });
    this.#deviceKey ??= peer.fingerprint;
    return { duplex, binding };
  }

  #ended(end: SessionEnd, untouched: readonly Untouched[]): void {
    this.#dialling.abort(new CulvertError('aborted', 'The session is over.'));
    const { identity, onEvent, ended } = this.#options;
    if (end.reason === 'key_refused') this.#refusal = new CulvertError('key_refused', printable(end.text, 256));
    onEvent({ ...identity, type: 'session-ended', reason: end.reason, text: end.text });
    ended(end, untouched);
  }

  #emit(event: 'linkLost' | 'linkRegained'): void {
    for (const { events } of this.#session?.connections ?? [])
      if (events instanceof ConnectionDuplex) events.emit(event);
  }
}

/** Errors of a further link that somebody in between may have caused, and that the user is told about. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['protocol_error', 'key_refused']);

/** The binding of a link without encryption. */
const UNENCRYPTED = new Uint8Array(0);

function discard(stream: Duplex): void {
  stream.on('error', () => undefined).destroy();
}
