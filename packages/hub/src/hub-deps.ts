import type { TLSSocket } from 'node:tls';
import { formatServiceConnectionString, LIMITS, peerAddress } from '@culvert/protocol';
import type { RestApi } from './api/app.ts';
import type { ApiDeps } from './api/deps.ts';
import { Authenticator } from './auth/authenticate.ts';
import type { HubConfig } from './config/config.ts';
import { acceptControlWebSocket } from './control/accept-web-socket.ts';
import type { ControlDeps, ControlOrigin, TlsIdentity } from './control/control-channel.ts';
import { transportOf } from './control/control-transports.ts';
import { limitedAuthentication } from './control/limited-authentication.ts';
import { ServiceConnections } from './control/service-connections.ts';
import { tlsIdentities } from './control/tls-identity.ts';
import { ChannelRegistration } from './handshake/channel-registrar.ts';
import type { HubParts } from './hub-parts.ts';
import type { ConnectionHandlers } from './listeners/listeners.ts';
import type { ControlProtocol } from './observe/listener.ts';
import type { MetricSources } from './observe/metrics/hub-metrics.ts';
import type { PolicyRecord } from './registry/registry.ts';

/** Maximum bytes of a REST body: a device with two 64-byte keys and a status reason takes less than 2 KiB; clients that send back what they read add some. */
const MAX_BODY_BYTES = 65_536;

/** Maximum bytes queued for a device that does not read its control channel: twice the bytes of 64 offers of at most 2 KiB each. */
const MAX_QUEUED_BYTES = 262_144;

/** The parts of a hub that exist before any client can connect. */
export type ConnectedParts = Omit<HubParts, 'api' | 'drainMs'>;

/** Creates the authenticator, which verifies the credentials of all clients. */
export function createAuthenticator({ store, names, clock }: ConnectedParts): Authenticator {
  return new Authenticator({ ...store, audiences: names.audiences, clock });
}

/** Collects what the REST API needs from the other parts. */
export function createApiDeps(config: HubConfig, parts: ConnectedParts, authenticator: Authenticator): ApiDeps {
  const { streaming, live, names, events } = parts;
  return {
    ...parts.store,
    authenticator,
    clock: parts.clock,
    onEvent: events.emit,
    router: streaming.router,
    audit: parts.audit,
    requestStream: streaming.requestStream,
    hold: (request) => streaming.hold(request),
    limitViews: () => streaming.limits.view(),
    live: {
      streams: live,
      counters: (streamId) => streaming.gateway.counters(streamId),
      closable: (id) => streaming.closable(id),
      closeStream: (streamId, error) => streaming.closeStream(streamId, error),
      claims: (stream) => streaming.claims(stream),
      lastDisconnect: parts.lastDisconnects.of,
      subscribers: parts.subscribers,
      subscribe: (sink) => events.subscribe(sink),
    },
    sessionReports: streaming.sessionReports,
    logs: parts.resourceLog.reader,
    endpoints: () => ({
      hostName: names.authority,
      streamingEndpoints: [`https://${parts.gateway.name}`],
      clientCertificates: config.clientCertificates,
    }),
    policyConnectionString: ({ name, primaryKey }: PolicyRecord) =>
      formatServiceConnectionString({ ...names.main, policy: name, key: primaryKey }),
    onAuthenticated: (request) => parts.listeners.unauthenticated.authenticated(request.raw.socket),
    limits: { maxBodyBytes: MAX_BODY_BYTES },
  };
}

/** Collects what control channels need from the other parts. */
export function createControlDeps(config: HubConfig, parts: ConnectedParts, authenticator: Authenticator): ControlDeps {
  const { clock, events, store, streaming } = parts;
  const draining = parts.draining.signal;
  const common = { clock, onEvent: events.emit };
  const services = new ServiceConnections({
    ...{ ...common, policies: store.policies, draining },
    authenticate: (token) => authenticator.authenticateService(token),
  });
  parts.registryListeners.add(services.revocation);
  return {
    ...common,
    services,
    onSessionReport: (identity, text) => streaming.sessionReports.fromDevice(identity, text),
    authenticate: limitedAuthentication({ clock, events, draining }, authenticator),
    registrar: new ChannelRegistration({
      ...{ ...common, router: streaming.router, store, revocation: streaming.revocation },
    }),
    limits: {
      authenticateMs: LIMITS.authenticateMs,
      maxPacketBytes: LIMITS.mqttPacketBytes,
      maxOffers: config.limits.offersPerDevice,
      maxQueuedBytes: MAX_QUEUED_BYTES,
    },
  };
}

/** The handlers to which the listeners pass the connections they accept. */
export function connectionHandlers(
  config: HubConfig,
  { streaming }: ConnectedParts,
  { api, control }: { api: RestApi; control: ControlDeps },
): ConnectionHandlers {
  const tlsIdentity = tlsIdentities(config);
  return {
    onRequest: api.handle,
    onControl: (request, socket, head) =>
      acceptControlWebSocket(request, socket, head, control, tlsIdentity(socket, 'listen')),
    onGateway: streaming.onUpgrade,
    onConnection: (listenKey, socket) => {
      const { name, accept } = transportOf(listenKey);
      return accept(socket, originOf(socket, name, tlsIdentity(socket, listenKey)), control);
    },
  };
}

function originOf(socket: TLSSocket, protocol: ControlProtocol, tls: TlsIdentity): ControlOrigin {
  return { remoteAddress: peerAddress(socket), protocol, ...tls };
}

/** The values that a scrape of the metrics reads from the other parts. */
export function metricSources({
  certificates,
  readiness,
  audit,
  resourceLog,
  streaming,
  tracing,
}: ConnectedParts): MetricSources {
  const lost = [...resourceLog.lost().keys()];
  return {
    certificateNotAfter: () => certificates.source.current.notAfter.getTime(),
    isReady: () => readiness.isUp,
    auditRecords: () => audit.counts().written,
    checkpointFailures: () => audit.counts().sendFailures,
    unrecordedConnections: resourceLog.unrecordedConnections,
    droppedReports: () => streaming.sessionReports.dropped,
    carriedSoFar: (streamId) => streaming.gateway.counters(streamId),
    dropped: {
      audit: () => audit.counts().lost,
      traces: tracing.dropped,
      ...Object.fromEntries(lost.map((sink) => [`log:${sink}`, () => resourceLog.lost().get(sink) ?? 0])),
    },
  };
}
