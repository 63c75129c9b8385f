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
import type { Clock } from '@culvert/stream';
import { ConnectionOffer } from './connection-offer.ts';
import { Openings } from './openings.ts';
import type { StreamOffer } from './stream-offer.ts';

/** The versions of the session's protocol that this device speaks. */
export const SESSION_VERSIONS = { lowest: 1, highest: 1 } as const;

/** How a device serves sessions. */
export interface SessionServerOptions {
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
  | { readonly type: 'session-link-refused'; readonly caller: string; readonly text: string };

/** Serves sessions: accepts the streams that carry them, and passes each of their connections to the program as an offer. */
export class SessionServer {
  readonly #onStream: (offer: StreamOffer) => void | Promise<void>;
  readonly #sessions: DeviceSessions;
  readonly #openings: Openings;
  /** The newest stream of each session. */
  readonly #streams = new WeakMap<DeviceSession, LinkOffer>();

  constructor(
    { deviceId, moduleId }: Pick<DeviceConnectionString, 'deviceId' | 'moduleId'>,
    options: SessionServerOptions & {
      readonly clock: Clock;
      readonly onStream: (offer: StreamOffer) => void | Promise<void>;
    },
  ) {
    const { onEvent = () => undefined } = options;
    this.#onStream = options.onStream;
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
        this.#streams.set(session, offer);
        onEvent({ type: 'session-linked', sessionId: hex(session.id), caller: offer.caller, isFirst });
      },
      linkLost: (session) =>
        onEvent({ type: 'session-link-lost', sessionId: hex(session.id), connections: session.size }),
      closed: (session, { reason, text }) =>
        onEvent({ type: 'session-ended', sessionId: hex(session.id), reason, text }),
      linkRefused: (text, caller) => onEvent({ type: 'session-link-refused', caller, text }),
    });
  }

  /** Whether an offer asks for a session that this device speaks. */
  takes(offer: StreamOffer): boolean {
    const { session } = offer;
    return session !== undefined && isVersionWithin(SESSION_VERSIONS.highest, session);
  }

  /** Accepts the offer; the stream becomes a link of its session. @throws CulvertError as `StreamOffer.accept` */
  async accept(offer: StreamOffer): Promise<void> {
    const { session, streamId, caller, services, idleMs } = offer;
    if (session === undefined) return;
    const stream = await offer.accept({ session: { version: SESSION_VERSIONS.highest, encrypted: false } });
    const sessionId = Buffer.from(session.id, 'hex');
    const link = { sessionId, streamId, caller: caller ?? '', mayOpen: mayOpen(services), idleMs };
    linkOverDuplex(stream, NO_BINDING, (transport) => this.#sessions.accept(transport, link));
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
