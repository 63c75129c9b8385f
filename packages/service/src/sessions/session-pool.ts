import type { Duplex } from 'node:stream';
import { CulvertError, type Identity, type SessionAnswer, type SessionRequest } from '@culvert/protocol';
import { ConnectionDuplex, type Untouched } from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';
import { abortReason, type Clock } from '@culvert/stream';
import type { OpenedSessionStream, OpenStreamOptions, RawReason } from '../stream-request.ts';
import { DeviceSession, type DeviceSessionOptions, type ServiceSessionEvent } from './device-session.ts';
import type { DeviceTrust } from './device-trust.ts';

/** Milliseconds for which a device that served no session is asked for none: streams are opened in parallel meanwhile. */
const RAW_MS = 30_000;
/** Devices that are remembered as such; the oldest are forgotten. */
const MAX_RAW = 1_024;
/**
 * How long the hub keeps a request for a further link. While it does, a device that returns is asked at once; the wait is as long as the longest back-off
 * between two requests at least (10 s), so one of them is always there. Some of the minute that a link may take is left to the device's answer.
 */
const FURTHER_LINK = { connectTimeoutMs: 20_000, responseTimeoutMs: 30_000 } as const;
/** Times a connection is opened in another session because its session took no more. */
const MAX_MOVES = 2;

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
    const key = keyOf(identity);
    for (let move = 0; move <= MAX_MOVES; move++) {
      if (options.signal?.aborted === true) throw abortReason(options.signal);
      const session = this.#sessions.get(key);
      if (session?.takesConnections === true) {
        const opened = await this.#openIn(session, options);
        if (opened !== undefined) return opened;
        continue;
      }
      if (this.#isRaw(key) || this.#isClosed) return this.#openRaw(identity, options);
      const starting = this.#starting.get(key);
      if (starting !== undefined) {
        await starting;
        move--;
        continue;
      }
      const raw = await this.#start(key, identity, options);
      if (raw !== undefined) return raw;
    }
    throw new CulvertError('draining', 'The device ends its sessions; try again.');
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

  /** Starts a session. Returns the stream of a device that serves none. */
  async #start(key: string, identity: Identity, options: OpenStreamOptions): Promise<Duplex | undefined> {
    let settle: () => void = () => undefined;
    this.#starting.set(key, new Promise<void>((resolve) => (settle = resolve)));
    try {
      const started = await this.#request(key, identity, options);
      if (started instanceof DeviceSession) this.#sessions.set(key, started);
      else {
        this.#rememberRaw(key, started.noSession);
        return started.stream;
      }
      return undefined;
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
            session: { id, lowest: 1, highest: 1, encrypted: true },
            ...(identity.moduleId === undefined ? {} : { moduleId: identity.moduleId }),
            ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
            ...(responseTimeoutMs === undefined ? {} : { responseTimeoutMs }),
            ...(traceParent === undefined ? {} : { traceParent }),
            ...(resumes ? FURTHER_LINK : {}),
          }),
        ended: (_end, untouched) => {
          if (self === undefined || this.#sessions.get(key) === self) this.#sessions.delete(key);
          for (const connection of untouched) void this.#move(identity, connection);
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

  /** Undefined if the session takes no more connections. */
  #openIn(session: DeviceSession, options: OpenStreamOptions): Promise<Duplex | undefined> {
    const waitMs = (options.connectTimeoutMs ?? 5_000) + (options.responseTimeoutMs ?? 30_000);
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const timer = this.#options.clock.setTimer(waitMs, () =>
        duplex.destroy(new CulvertError('device_silent', 'The device did not answer in time.')),
      );
      const abort = (): void => void duplex.destroy(abortReason(signal as AbortSignal));
      const settle = (): void => {
        timer.cancel();
        signal?.removeEventListener('abort', abort);
      };
      const duplex: ConnectionDuplex = new ConnectionDuplex({
        opened: () => {
          settle();
          resolve(duplex);
          setImmediate(() => duplex.off('error', failed));
        },
      });
      const failed = (error: Error): void => {
        settle();
        if (error instanceof CulvertError && error.code === 'draining') {
          session.drain();
          resolve(undefined);
        } else reject(session.refusal ?? error);
      };
      duplex.on('error', failed);
      signal?.addEventListener('abort', abort);
      if (!session.open(options.name, duplex)) {
        settle();
        resolve(undefined);
        session.drain();
      } else if (this.#isClosed) session.drain();
    });
  }

  /** A connection whose session ended before anything was sent goes to a new session, once. */
  async #move(identity: Identity, { service, events }: Untouched): Promise<void> {
    try {
      if (!(events instanceof ConnectionDuplex) || events.hasMoved) throw new CulvertError('stream_lost');
      const key = keyOf(identity);
      // Of many that move together one starts the session.
      for (let other = this.#starting.get(key); other !== undefined; other = this.#starting.get(key)) await other;
      if (events.destroyed) return;
      if (this.#sessions.get(key)?.takesConnections !== true) {
        if (this.#isRaw(key)) throw new CulvertError('stream_lost');
        const raw = await this.#start(key, identity, {
          name: service,
          ...(identity.moduleId === undefined ? {} : { moduleId: identity.moduleId }),
        });
        if (raw !== undefined) raw.on('error', () => undefined).destroy();
      }
      if (this.#sessions.get(key)?.open(service, events) !== true) throw new CulvertError('stream_lost');
    } catch (error) {
      events.aborted('reset', CulvertError.from(error).message, false);
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
