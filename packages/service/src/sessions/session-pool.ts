import type { Duplex } from 'node:stream';
import { CulvertError, type Identity, type SessionAnswer, type SessionRequest } from '@culvert/protocol';
import { SESSION_VERSIONS, type SessionConnection } from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import { abortReason, type Clock } from '@culvert/stream';
import type { OpenedSessionStream, OpenStreamOptions, RawReason } from '../stream-request.ts';
import { DeviceSession, type DeviceSessionOptions } from './device-session.ts';
import type { DeviceTrust } from './device-trust.ts';
import { failReceiver } from './fail-receiver.ts';
import { openConnection } from './open-connection.ts';
import type { ServiceSessionEvent } from './session-event.ts';

/** Milliseconds for which a device that served no session is asked for none: streams are opened in parallel meanwhile. */
const RAW_MS = 30_000;
/** Devices that are remembered as such; the oldest are forgotten. */
const MAX_RAW = 1_024;
/**
 * How long the hub keeps a request for a further link. While it does, a device that returns is asked at once; the wait is as long as the longest back-off
 * between two requests at least (10 s), so one of them is always there. Some of the minute that a link may take is left to the device's answer.
 */
const FURTHER_LINK = { connectTimeoutMs: 20_000, responseTimeoutMs: 30_000 } as const;
/** Times another session is tried because a session took no more connections. */
const MAX_MOVES = 2;
/** Times a connection may have moved when its session ended in another way than `draining`: that would repeat itself. */
const MAX_MOVES_AFTER_END = 1;

const ENDS_SESSIONS = 'The device ends its sessions; try again.';

export interface SessionPoolOptions {
  readonly clock: Clock;
  readonly retentionSeconds: number | undefined;
  readonly trust: DeviceTrust;
  readonly openRaw: (deviceId: string, options: OpenStreamOptions) => Promise<Duplex>;
  /** Opens a stream for a session. @param options.resumes whether the session exists already */
  readonly openLink: (
    deviceId: string,
    options: OpenStreamOptions & { readonly session: SessionRequest; readonly resumes: boolean },
  ) => Promise<OpenedSessionStream>;
  /** Tells the hub about connections of a session. */
  readonly report: DeviceSessionOptions['report'];
  readonly onEvent: (event: ServiceSessionEvent) => void;
}

/** How streams reach a device: as connections of a session, or each for itself. */
export type DeviceConnection =
  | ({
      readonly kind: 'session';
      readonly sessionId: string;
      /** The key that the device has proved; undefined in a session without encryption. */
      readonly deviceKey?: Fingerprint | undefined;
    } & SessionAnswer)
  | { readonly kind: 'raw'; readonly reason: RawReason };

/** One session for each device and module that serves sessions, opened with the first stream to it. */
export class SessionPool {
  readonly #options: SessionPoolOptions;
  readonly #sessions = new Map<string, DeviceSession>();
  readonly #starting = new Map<string, Promise<unknown>>();
  /** When devices that serve no sessions were last asked, and why there is none. */
  readonly #raw = new Map<string, { readonly at: number; readonly why: RawReason | undefined }>();
  #isClosed = false;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
  }

  /** Opens a connection in the device's session, or a raw stream if it serves none. */
  async open(deviceId: string, options: OpenStreamOptions): Promise<Duplex> {
    const identity: Identity = { deviceId, ...(options.moduleId === undefined ? {} : { moduleId: options.moduleId }) };
    for (let attempt = 0; attempt <= MAX_MOVES; attempt++) {
      const reached = await this.#reach(identity, options);
      if (!(reached instanceof DeviceSession)) return reached;
      const opening = openConnection(reached, options, this.#options.clock);
      // The client was closed while the session was started.
      if (this.#isClosed) reached.drain();
      const opened = await opening;
      if (opened !== undefined) return opened;
      // It is full, or over by now.
      reached.drain();
    }
    throw new CulvertError('draining', ENDS_SESSIONS);
  }

  /** The session that takes connections to the device, started if there is none; or the raw stream of a device that serves none. */
  async #reach(identity: Identity, options: OpenStreamOptions): Promise<DeviceSession | Duplex> {
    const key = keyOf(identity);
    for (;;) {
      if (options.signal?.aborted === true) throw abortReason(options.signal);
      const session = this.#sessions.get(key);
      if (session?.takesConnections === true) return session;
      if (this.#isRaw(key) || this.#isClosed) return this.#openRaw(identity, options);
      const starting = this.#starting.get(key);
      if (starting !== undefined) {
        await starting;
        continue;
      }
      return this.#start(key, identity, options);
    }
  }

  /** A raw stream to a device that served no session a moment ago. It may have been pinned since. */
  async #openRaw(identity: Identity, options: OpenStreamOptions): Promise<Duplex> {
    const { openRaw, trust, onEvent } = this.#options;
    const decision = await trust.decide(identity, 'raw');
    const stream = await openRaw(identity.deviceId, options);
    if (decision.action === 'go-on-unencrypted' && decision.warning !== undefined)
      onEvent({ ...identity, type: 'unencrypted', text: decision.warning });
    return stream;
  }

  /** How a device is reached now; undefined if that is not known. */
  connectionTo(identity: Identity): DeviceConnection | undefined {
    const key = keyOf(identity);
    const session = this.#sessions.get(key);
    const { version, encrypted } = session?.answer ?? {};
    if (session !== undefined && version !== undefined && encrypted !== undefined)
      return { kind: 'session', sessionId: session.id, version, encrypted, deviceKey: session.deviceKey };
    const why = this.#raw.get(key)?.why;
    return why === undefined ? undefined : { kind: 'raw', reason: why };
  }

  /** Opens no further sessions; each ends when its last connection is over. */
  drain(): void {
    this.#isClosed = true;
    for (const session of this.#sessions.values()) session.drain();
  }

  /** Starts a session. Returns it, or the stream of a device that serves none. */
  async #start(key: string, identity: Identity, options: OpenStreamOptions): Promise<DeviceSession | Duplex> {
    let settle: () => void = () => undefined;
    this.#starting.set(key, new Promise<void>((resolve) => (settle = resolve)));
    try {
      const started = await this.#request(key, identity, options);
      if (started instanceof DeviceSession) {
        this.#sessions.set(key, started);
        return started;
      }
      this.#rememberRaw(key, started.noSession);
      return started.stream;
    } finally {
      this.#starting.delete(key);
      settle();
    }
  }

  #request(key: string, identity: Identity, options: OpenStreamOptions): ReturnType<typeof DeviceSession.start> {
    const { connectTimeoutMs, responseTimeoutMs, traceParent } = options;
    const { retentionSeconds, trust, onEvent, openLink, clock, report } = this.#options;
    let self: DeviceSession | undefined;
    const started = DeviceSession.start(
      {
        identity,
        retentionSeconds,
        trust,
        clock,
        report,
        onEvent,
        openStream: ({ sessionId: id, name, signal, resumes }) =>
          openLink(identity.deviceId, {
            name,
            signal,
            resumes,
            session: { id, ...SESSION_VERSIONS, encrypted: true },
            ...(identity.moduleId === undefined ? {} : { moduleId: identity.moduleId }),
            ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
            ...(responseTimeoutMs === undefined ? {} : { responseTimeoutMs }),
            ...(traceParent === undefined ? {} : { traceParent }),
            ...(resumes ? FURTHER_LINK : {}),
          }),
        turnedAway: (connection) => void this.#move(identity, connection, MAX_MOVES),
        ended: (end, unopened) => {
          if (self === undefined || this.#sessions.get(key) === self) this.#sessions.delete(key);
          const maxMoves = end.reason === 'draining' ? MAX_MOVES : MAX_MOVES_AFTER_END;
          for (const connection of unopened) void this.#move(identity, connection, maxMoves);
        },
      },
      options.name,
      options.signal ?? new AbortController().signal,
    );
    void started.then(
      (result) => {
        if (result instanceof DeviceSession) self = result;
      },
      () => undefined,
    );
    return started;
  }

  /** Opens a connection in another session, since its own did not open it. */
  async #move(identity: Identity, connection: SessionConnection, maxMoves: number): Promise<void> {
    try {
      if (connection.moves >= maxMoves) throw new CulvertError('draining', ENDS_SESSIONS);
      // The session that it comes from may not have let go of it yet.
      await Promise.resolve();
      const { service: name } = connection;
      const { moduleId } = identity;
      const reached = await this.#reach(identity, moduleId === undefined ? { name } : { name, moduleId });
      const isSession = reached instanceof DeviceSession;
      if (!isSession) reached.on('error', () => undefined).destroy();
      // Its program may have given up meanwhile.
      if (!connection.isMoving) return;
      if (!isSession || !reached.takeOver(connection)) throw new CulvertError('draining', ENDS_SESSIONS);
    } catch (error) {
      failReceiver(connection.events, CulvertError.from(error));
    }
  }

  #isRaw(key: string): boolean {
    const raw = this.#raw.get(key);
    if (raw === undefined) return false;
    if (this.#options.clock.now() - raw.at < RAW_MS) return true;
    this.#raw.delete(key);
    return false;
  }

  #rememberRaw(key: string, why: RawReason | undefined): void {
    this.#raw.delete(key);
    this.#raw.set(key, { at: this.#options.clock.now(), why });
    for (const oldest of this.#raw.keys()) {
      if (this.#raw.size <= MAX_RAW) break;
      this.#raw.delete(oldest);
    }
  }
}

function keyOf({ deviceId, moduleId }: Identity): string {
  // Ids contain no line feed.
  return moduleId === undefined ? deviceId : `${deviceId}\n${moduleId}`;
}
