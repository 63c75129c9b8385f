import type { Duplex } from 'node:stream';
import { CulvertError, type Identity } from '@culvert/protocol';
import {
  Budget,
  ConnectionDuplex,
  linkOverDuplex,
  nodeEnvironment,
  ServiceSession,
  type SessionEnd,
  type Untouched,
} from '@culvert/session';
import type { OpenedSessionStream } from '../service-client.ts';
import { dialFailure, endsSession } from './dial-failure.ts';

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
  );

export interface DeviceSessionOptions {
  readonly identity: Identity;
  readonly retentionSeconds: number | undefined;
  /** Opens a stream that asks for this session. */
  readonly openStream: (sessionId: string, name: string, signal: AbortSignal) => Promise<OpenedSessionStream>;
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

  private constructor(options: DeviceSessionOptions, name: string, id: Uint8Array) {
    this.#options = options;
    this.#name = name;
    this.id = Buffer.from(id).toString('hex');
  }

  /**
   * Opens the first stream. Resolves with the session, or with the raw stream of a device that serves no sessions.
   * @throws CulvertError as `ServiceClient.openStream`
   */
  static async start(
    options: DeviceSessionOptions,
    name: string,
    signal: AbortSignal,
  ): Promise<DeviceSession | Duplex> {
    const id = nodeEnvironment.random(16);
    const self = new DeviceSession(options, name, id);
    const { stream, session, idleMs } = await options.openStream(self.id, name, signal);
    if (session === undefined) return stream;
    self.#first = stream;
    self.#start(id, idleMs);
    return self;
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
    try {
      const stream = this.#first ?? (await this.#nextLink());
      this.#first = undefined;
      this.#refusals = 0;
      // A link whose error says that nothing may go on, such as a revoked device, ends the session.
      const failed = (error: Error): boolean => {
        if (endsSession(error)) session.close(error.message);
        return endsSession(error);
      };
      linkOverDuplex(stream, NO_BINDING, (transport) => session.linkReady(transport), failed);
    } catch (error) {
      if (error instanceof CulvertError && error.code === 'unauthorized') this.#refusals++;
      session.dialFailed(dialFailure(error, this.#refusals));
    }
  }

  async #nextLink(): Promise<Duplex> {
    const { stream, session } = await this.#options.openStream(this.id, this.#name, this.#dialling.signal);
    if (session !== undefined) return stream;
    // The device would take it for a connection of its own.
    stream.on('error', () => undefined).destroy();
    throw new CulvertError('protocol_error', 'The device serves no sessions any more.');
  }

  #ended(end: SessionEnd, untouched: readonly Untouched[]): void {
    this.#dialling.abort(new CulvertError('aborted', 'The session is over.'));
    const { identity, onEvent, ended } = this.#options;
    onEvent({ ...identity, type: 'session-ended', reason: end.reason, text: end.text });
    ended(end, untouched);
  }

  #emit(event: 'linkLost' | 'linkRegained'): void {
    for (const { events } of this.#session?.connections ?? [])
      if (events instanceof ConnectionDuplex) events.emit(event);
  }
}

const NO_BINDING = new Uint8Array(0);
