import { Gateway, type GatewayControl, type GatewayEvent } from '@culvert/gateway';
import type { CulvertError } from '@culvert/protocol';
import { newGrantKeys } from '@culvert/protocol/grant';
import type { Clock } from '@culvert/stream';
import type { HubConfig } from '../config/config.ts';
import type { HostNames } from '../config/host-names.ts';
import { Router } from '../control/router.ts';
import { type GatewayWorkersOptions, type OpenThreads, openGatewayThreads } from '../gateway/start-workers.ts';
import type { UpgradeHandler } from '../listeners/https-listener.ts';
import type { EventBus } from '../observe/event-bus.ts';
import { KnownSessions } from '../observe/known-sessions.ts';
import { type Claims, LatestClaims } from '../observe/latest-claims.ts';
import type { LiveStreams } from '../observe/live-streams.ts';
import { sessionKey } from '../observe/session-key.ts';
import { SessionReports } from '../observe/session-reports.ts';
import type { LiveStream } from '../observe/stream-record.ts';
import type { Registry, RegistryListener, UsageStore } from '../registry/registry.ts';
import { type ClosableStream, closableStreams } from './closable-streams.ts';
import { ClosedSessions } from './closed-sessions.ts';
import { createStreamLimits, type StreamLimits } from './create-limits.ts';
import { GrantIssuer } from './grant-issuer.ts';
import { type HandshakeDeps, requestStream, type StreamReply, type StreamRequest } from './request-stream.ts';
import { revokeOnChange } from './revoke.ts';
import { SessionAdmission } from './session-admission.ts';
import { StreamTable } from './stream-table.ts';

export interface StreamingOptions {
  readonly registry: Registry;
  readonly usage: UsageStore;
  /** Has subscribed to the events before anything that is created here. */
  readonly live: LiveStreams;
  readonly names: HostNames;
  readonly limits: HubConfig['limits'];
  /** Options of the gateway's worker threads; undefined: streams use the main port, in this thread. */
  readonly threads: GatewayWorkersOptions | undefined;
  /** Whether the gateway may relay streams with WebAssembly. */
  readonly webAssembly: boolean;
  /** Aborted when the hub stops. */
  readonly draining: AbortSignal;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Router, gateway and handshake: everything that creates and ends streams. */
export interface Streaming {
  readonly router: Router;
  readonly gateway: GatewayControl;
  /** The gateway's worker threads, if configured. */
  readonly threads: OpenThreads | undefined;
  /** Handles upgrade requests on the main port. */
  readonly onUpgrade: UpgradeHandler;
  readonly requestStream: (request: StreamRequest) => Promise<StreamReply>;
  /** Ends channels and streams that a registry change revokes. */
  readonly revocation: RegistryListener;
  readonly limits: StreamLimits;
  readonly sessionReports: SessionReports;
  /** The newest claims of both ends about the session that a stream carries. */
  claims(stream: LiveStream): Claims[];
  /**
   * Reserves one of the held stream requests and returns a function that releases it.
   * @throws CulvertError `too_many_requests`
   */
  hold(request: Pick<StreamRequest, 'identity' | 'principal' | 'session'>): () => void;
  /**
   * The streams that an id means: the one with this id, or the one that carried a session last, or the newest of each session with this id. Of a session
   * whose link is lost, they have ended.
   */
  closable(id: string): ClosableStream[];
  /**
   * Ends a stream in any state, and all others of its session, which is not taken up again. False when there is no such stream, and no session that it
   * carried last.
   */
  closeStream(streamId: string, error: CulvertError): boolean;
  /** Cancels every timer and writes pending totals; does not end streams, which belong to the gateway. */
  clear(): Promise<void>;
}

/** Creates a new key pair for grants at each start: the gateway gets the public key, the handshake the private one. */
export async function createStreaming(options: StreamingOptions): Promise<Streaming> {
  const { clock, limits, names, registry, draining, events, live, usage } = options;
  const onEvent = events.emit;
  const router = new Router(clock);
  const streams = new StreamTable({
    clock,
    onUnpaired: ({ streamId, identity }, { code, message }) =>
      onEvent({ type: 'stream-failed', ...identity, streamId, error: code, detail: message }),
  });
  const keys = await newGrantKeys();
  let reportedWithoutWebAssembly = false;
  const onGatewayEvent = (event: GatewayEvent) => {
    if (event.type === 'gateway-without-webassembly') {
      // Every worker thread emits this event; pass on only the first.
      if (reportedWithoutWebAssembly) return;
      reportedWithoutWebAssembly = true;
    }
    streams.observe(event);
    onEvent(event);
  };
  const common = {
    grantKey: keys.publicKey,
    clock,
    onEvent: onGatewayEvent,
    plain: !options.webAssembly,
    limits: {
      halfCloseMs: limits.halfCloseMs,
      stallMs: limits.stallMs,
      maxStreams: limits.streams,
      maxWaiting: limits.streams,
    },
  };
  const threads = options.threads && (await openGatewayThreads(options.threads, common));
  // Handles upgrades on the main port. With worker threads, no grants are issued for this gateway.
  const mainPortGateway = new Gateway(threads === undefined ? common : { ...common, plain: true });
  const gateway = threads?.gateway ?? mainPortGateway;
  const endAtGateway = (streamId: string, error: CulvertError) => gateway.end(streamId, error);
  const endStream = (streamId: string, error: CulvertError) => streams.end(streamId, error, endAtGateway);
  const now = () => clock.now();
  const claims = new LatestClaims();
  const known = new KnownSessions({ streams: live, now, onDetached: (key) => claims.delete(key) });
  events.subscribe(known.observe);
  const closedSessions = new ClosedSessions(now);
  const streamLimits = await createStreamLimits({
    ...{ limits, usage, streams, gateway, endStream, live, clock, events },
    sessions: known,
  });
  const handshake: HandshakeDeps = {
    registry,
    router,
    admitTo: (identity, takesPlace) => streamLimits.admission.admitTo(identity, takesPlace),
    isFull: () => streamLimits.admission.isFull,
    sessions: new SessionAdmission({ limits, closed: closedSessions, known, now }),
    streams,
    endAtGateway,
    draining,
    clock,
    onEvent,
    grants: new GrantIssuer({
      key: keys.privateKey,
      bootId: gateway.bootId,
      authority: () => threads?.name ?? names.main,
    }),
  };
  return {
    router,
    gateway,
    threads,
    onUpgrade: (request, socket, head) => mainPortGateway.handleUpgrade(request, socket, head),
    requestStream: (request) => requestStream(request, handshake),
    revocation: revokeOnChange({ router, streams, endAtGateway }),
    limits: streamLimits,
    sessionReports: new SessionReports({ known, claims, clock, onEvent }),
    claims(stream) {
      const session = known.of(stream);
      return session === undefined ? [] : claims.get(session.key);
    },
    hold({ identity, principal, session }) {
      const key = session && sessionKey(session.id, principal.name, identity);
      return streamLimits.admission.hold(key !== undefined && streams.hasSession(key));
    },
    closable: (id) => closableStreams(id, live, known),
    closeStream(streamId, error) {
      const closed = streams.endWithSession(streamId, error, endAtGateway) ?? known.ofStream(streamId);
      if (closed?.sessionId !== undefined) closedSessions.add(closed.sessionId, error.message);
      return closed !== undefined;
    },
    clear() {
      streams.clear();
      return streamLimits.close();
    },
  };
}
