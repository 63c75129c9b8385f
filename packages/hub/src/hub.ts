import type { TLSSocket } from 'node:tls';
import { CulvertError, formatHostPort, formatServiceConnectionString, LIMITS, peerAddress } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { packageVersion } from '@culvert/stream/package-version';
import { createApi } from './api/app.ts';
import { Subscribers } from './api/event-stream/subscribers.ts';
import { Authenticator } from './auth/authenticate.ts';
import { PolicyFiles } from './auth/policy-files.ts';
import { advertisedNames, certificateNames, type HubConfig } from './config/config.ts';
import { HostNames } from './config/host-names.ts';
import { startFailure } from './config/startup-error.ts';
import { acceptControlWebSocket } from './control/accept-web-socket.ts';
import type { ControlDeps, ControlOrigin, TlsIdentity } from './control/control-channel.ts';
import { CONTROL_TRANSPORTS, transportOf } from './control/control-transports.ts';
import { limitedAuthentication } from './control/limited-authentication.ts';
import { ServiceConnections } from './control/service-connections.ts';
import { tlsIdentities } from './control/tls-identity.ts';
import { gatewayWorkersOptions, type OpenThreads } from './gateway/start-workers.ts';
import { ChannelRegistration } from './handshake/channel-registrar.ts';
import { createStreaming } from './handshake/create-streaming.ts';
import type { Listening } from './listeners/listen.ts';
import { Listeners } from './listeners/listeners.ts';
import { Readiness } from './listeners/readiness.ts';
import { openAudit } from './observe/audit/open-audit.ts';
import { EventBus } from './observe/event-bus.ts';
import type { EventSink } from './observe/events.ts';
import { RecentDisconnects } from './observe/last-disconnect.ts';
import type { ControlProtocol } from './observe/listener.ts';
import { LiveStreams } from './observe/live-streams.ts';
import { HubMetrics } from './observe/metrics/hub-metrics.ts';
import { createLogging } from './observe/resource-log/open-resource-log.ts';
import { openTracing } from './observe/tracing/open-tracing.ts';
import { openStore, type Store } from './registry/open-store.ts';
import type { PolicyRecord, RegistryListener } from './registry/registry.ts';
import { openCertificates } from './tls/open-certificates.ts';

/** Bytes of a REST body: a device with two 64-byte keys and a reason is below 2 KiB; agents that read and send back add some. */
const MAX_BODY_BYTES = 65_536;

/** Bytes that may wait for a device that does not read its control channel: 64 offers of at most 2 KiB, twice. */
const MAX_QUEUED_BYTES = 262_144;

export interface HubOptions {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Subscribers from before the first event on, such as a log. */
  readonly sinks?: readonly EventSink[];
  /** For tests: another program for the gateway's threads. */
  readonly gatewayEntry?: URL;
}

/** A running hub with its gateway, in this process. */
export class Hub {
  readonly #parts: Parts;
  #stopping: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Starts a hub. When it resolves, the hub takes devices and requests.
   * @throws CulvertError `config_invalid`, one line that says what to do; nothing is left running then
   */
  static async start(config: HubConfig, options: HubOptions = {}): Promise<Hub> {
    const undo: (() => unknown)[] = [];
    try {
      return new Hub(await startParts(config, options, (step) => undo.unshift(step)));
    } catch (error) {
      for (const step of undo) await step();
      throw startFailure(error, config.dataDir);
    }
  }

  /** The name and port that connection strings and grants carry. */
  get hostName(): string {
    return this.#parts.names.authority;
  }

  /** Where the main port listens. */
  get address(): Listening {
    return this.#parts.listeners.address;
  }

  /** Where MQTT over TLS listens, if it does. */
  get mqttAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('mqttListen');
  }

  /** Where AMQP over TLS listens, if it does. */
  get amqpAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('amqpListen');
  }

  /** Where `/livez` and `/readyz` listen. */
  get adminAddress(): Listening {
    return this.#parts.listeners.adminAddress;
  }

  /** The file clients are to trust; undefined when the operator brought a certificate. */
  get caFile(): string | undefined {
    return this.#parts.certificates.caFile;
  }

  /** One sentence to show when clients must be given a new `ca.pem`. */
  get certificateNotice(): string | undefined {
    return this.#parts.certificates.notice;
  }

  /** Streams that are joined right now. */
  get streams(): number {
    return this.#parts.streaming.gateway.streams;
  }

  /** Resolves if the hub can no longer work, with the reason. */
  get failed(): Promise<CulvertError> {
    return this.#parts.store.failed;
  }

  /** Resolves when what happened so far is in the audit record on disk. */
  settled(): Promise<void> {
    return this.#parts.audit.settled();
  }

  /** Looks for a new certificate now (SIGHUP). */
  reload(): Promise<void> {
    return this.#parts.certificates.source.reload();
  }

  /**
   * Stops, in the reverse order of the start. Idempotent; a second call with 0 cuts the grace of the first short.
   * @param graceMs how long running streams may take to end by themselves; default the configuration's `drainMs`
   */
  stop(graceMs: number = this.#parts.drainMs): Promise<void> {
    if (this.#stopping !== undefined && graceMs === 0) this.#parts.streaming.gateway.destroy();
    this.#stopping ??= stopParts(this.#parts, graceMs);
    return this.#stopping;
  }
}

type Parts = Awaited<ReturnType<typeof startParts>>;

async function startParts(config: HubConfig, options: HubOptions, undo: (step: () => unknown) => void) {
  const clock = options.clock ?? systemClock;
  const events = new EventBus();
  for (const sink of options.sinks ?? []) events.subscribe(sink);
  const draining = new AbortController();
  const readiness = new Readiness(clock);
  let gatewayName = '';
  const live = new LiveStreams({ clock, onEvent: events.emit, gateway: () => gatewayName });
  events.subscribe(live.observe);
  const version = packageVersion(import.meta.url);
  const metrics = new HubMetrics({ live, version });
  events.subscribe(metrics.observe);
  undo(() => metrics.stop());

  // The store first: it locks the data directory, so that nothing below is done by two hubs at once.
  const registryListeners: RegistryListener[] = [];
  const store = await openStore({
    directory: config.dataDir,
    clock,
    listener: fanOut(registryListeners),
    onCall: metrics.registryCall,
  });
  undo(() => store.close());

  // Certificates before listeners: they need the names alone, not the port.
  const hosts = certificateNames(config);
  let listeners: Listeners | undefined;
  let streamListeners: OpenThreads | undefined;
  const certificates = await openCertificates(config, hosts, clock, {
    loaded: (pair) => {
      listeners?.present(pair);
      streamListeners?.present(pair);
      events.emit({ type: 'certificate-loaded', notAfter: pair.notAfter.toISOString(), from: pair.from });
    },
    kept: (problem) => events.emit({ type: 'certificate-kept', problem }),
  });
  undo(() => certificates.source.close());

  // Listeners before what stands behind them: grants and connection strings need the port.
  const admin = { readiness: readiness.check, metrics };
  const pair = certificates.source.current;
  const opened = await Listeners.open({
    config,
    transports: CONTROL_TRANSPORTS,
    pair,
    admin,
    clock,
    onEvent: events.emit,
  });
  listeners = opened;
  undo(() => {
    const closed = [opened.close(), opened.closeProbes()];
    opened.destroyConnections();
    return Promise.all(closed);
  });
  const names = new HostNames(advertisedNames(config, opened.address.port));
  const policyFiles = await keepPolicyFiles(config, names, store, registryListeners, events.emit);

  gatewayName = formatHostPort(names.main.host, names.main.port);
  const tracing = openTracing(config.tracing, { live, version, instance: gatewayName, clock });
  undo(() => tracing.close());
  events.subscribe(tracing.observe);

  const observed = { clock, events, streams: live, isRegistered: store.registry.remembers };
  const logging = await createLogging({ ...config, hostName: names.main.host, ...observed });
  undo(() => logging.close());
  const lastDisconnects = new RecentDisconnects(clock, logging.lastDisconnect);
  events.subscribe(lastDisconnects.observe);

  const common = { clock, onEvent: events.emit };
  // Behind the store, whose lock it needs too; before anything that it is to record.
  const audit = await openAudit(config.audit, config.dataDir, { ...common, streams: live });
  undo(() => audit.close());
  events.subscribe(audit.observe);
  for (const event of audit.interrupted) events.emit(event);

  const { registry } = store;
  const streaming = await createStreaming({
    clock,
    events,
    live,
    registry,
    usage: store.usage,
    names,
    limits: config.limits,
    webAssembly: config.gatewayWebAssembly,
    threads: gatewayWorkersOptions(config, certificates.source.current, events.emit, options.gatewayEntry),
    draining: draining.signal,
  });
  streamListeners = streaming.threads;
  if (streamListeners !== undefined) gatewayName = formatHostPort(streamListeners.name.host, streamListeners.name.port);
  undo(() => {
    streaming.gateway.destroy();
    return streaming.clear();
  });
  const subscribers = new Subscribers(clock);
  registryListeners.push(streaming.revocation, subscribers.revocation);

  const authenticator = new Authenticator({ ...store, audiences: names.audiences, clock });
  const api = await createApi({
    ...common,
    ...store,
    authenticator,
    router: streaming.router,
    audit,
    requestStream: streaming.requestStream,
    hold: () => streaming.limits.admission.hold(),
    limitViews: () => streaming.limits.view(),
    live: {
      streams: live,
      counters: (streamId) => streaming.gateway.counters(streamId),
      endStream: (streamId, error) => streaming.endStream(streamId, error),
      lastDisconnect: lastDisconnects.of,
      subscribers,
      subscribe: (sink) => events.subscribe(sink),
    },
    logs: logging.reader,
    endpoints: () => ({
      hostName: names.authority,
      streamingEndpoints: [`https://${gatewayName}`],
      clientCertificates: config.clientCertificates,
    }),
    policyConnectionString: ({ name, primaryKey }: PolicyRecord) =>
      formatServiceConnectionString({ ...names.main, policy: name, key: primaryKey }),
    onAuthenticated: (request) => opened.unauthenticated.authenticated(request.raw.socket),
    limits: { maxBodyBytes: MAX_BODY_BYTES },
  });
  undo(() => api.close());

  const services = new ServiceConnections({
    ...{ ...common, policies: store.policies, draining: draining.signal },
    authenticate: (token) => authenticator.authenticateService(token),
  });
  registryListeners.push(services.revocation);
  const control: ControlDeps = {
    ...common,
    services,
    authenticate: limitedAuthentication({ clock, events, draining: draining.signal }, authenticator),
    registrar: new ChannelRegistration({
      ...common,
      router: streaming.router,
      store,
      revocation: streaming.revocation,
    }),
    limits: {
      authenticateMs: LIMITS.authenticateMs,
      maxPacketBytes: LIMITS.mqttPacketBytes,
      maxOffers: config.limits.offersPerDevice,
      maxQueuedBytes: MAX_QUEUED_BYTES,
    },
  };
  const tlsIdentity = tlsIdentities(config);
  opened.setHandlers({
    onRequest: api.handle,
    onControl: (request, socket, head) =>
      acceptControlWebSocket(request, socket, head, control, tlsIdentity(socket, 'listen')),
    onGateway: streaming.onUpgrade,
    onConnection: (listenKey, socket) => {
      const { name, accept } = transportOf(listenKey);
      return accept(socket, originOf(socket, name, tlsIdentity(socket, listenKey)), control);
    },
  });
  metrics.report({
    certificateNotAfter: () => certificates.source.current.notAfter.getTime(),
    isReady: () => readiness.isUp,
    auditRecords: () => audit.counts().written,
    checkpointFailures: () => audit.counts().sendFailures,
    unrecordedConnections: logging.unrecordedConnections,
    carriedSoFar: (streamId) => streaming.gateway.counters(streamId),
    dropped: {
      audit: () => audit.counts().lost,
      traces: tracing.dropped,
      ...Object.fromEntries(
        [...logging.lost().keys()].map((sink) => [`log:${sink}`, () => logging.lost().get(sink) ?? 0]),
      ),
    },
  });
  readiness.up(store);
  const address = formatHostPort(opened.address.host, opened.address.port);
  events.emit({ type: 'hub-started', hostName: names.authority, address });
  const { drainMs } = config;
  const observers = { readiness, metrics, audit, tracing };
  return {
    names,
    listeners: opened,
    certificates,
    draining,
    store,
    policyFiles,
    streaming,
    subscribers,
    logging,
    api,
    events,
    drainMs,
    ...observers,
  };
}

function originOf(socket: TLSSocket, protocol: ControlProtocol, tls: TlsIdentity): ControlOrigin {
  return { remoteAddress: peerAddress(socket), protocol, ...tls };
}

/** The reverse of the start, each step with its reason. */
async function stopParts(parts: Parts, graceMs: number): Promise<void> {
  const { listeners, streaming, events } = parts;
  // Not ready, no new handshakes, and those under way are told: load balancers and callers go elsewhere.
  parts.readiness.drain();
  parts.draining.abort(new CulvertError('draining'));
  events.emit({ type: 'hub-draining' });
  // No new connections before those that are there are ended, or they would come straight back.
  const closed = listeners.close();
  // Streams may end by themselves; after the grace both sides are told that the hub is going.
  await streaming.gateway.close(graceMs);
  // Devices last: their agents learn that they are to come back, not that something broke.
  const channels = [...streaming.router.channels()];
  for (const channel of channels) channel.close(new CulvertError('draining'));
  await Promise.all(channels.map((channel) => channel.closed));
  await streaming.clear();
  // Those who follow have seen the last stream end.
  await parts.subscribers.close(new CulvertError('draining'));
  // After the last stream and the last device: their ends are in it, and whoever follows has been told.
  await parts.logging.close();
  await parts.api.close();
  listeners.destroyConnections();
  await closed;
  parts.certificates.source.close();
  // A rotation just answered may still be on its way into its file; the next hub here must not be written over.
  await parts.policyFiles.settled();
  // Nothing more can happen that it would record.
  await Promise.all([parts.audit.close(), parts.tracing.close()]);
  // The store at the very end: everything above may still write.
  await parts.store.close();
  // Until here probes were told that the hub lives and is not ready: who asks them would otherwise kill it while it drains.
  await listeners.closeProbes();
  parts.metrics.stop();
  events.emit({ type: 'hub-stopped' });
}

/** Writes the policies' connection strings now and after each rotation; `settled` resolves when none is being written. */
async function keepPolicyFiles(
  config: HubConfig,
  names: HostNames,
  store: Store,
  listeners: RegistryListener[],
  onEvent: EventSink,
): Promise<{ settled(): Promise<void> }> {
  const files = new PolicyFiles({ directory: config.dataDir, ...names.main });
  await files.write(await store.policies.list());
  const rewrite = async () => {
    try {
      await files.write(await store.policies.list());
    } catch (error) {
      const problem = `The files of the policies could not be written: ${(error as Error).message}`;
      onEvent({ type: 'storage-failed', problem });
    }
  };
  let last = Promise.resolve();
  const policyChanged = () => {
    last = last.then(rewrite);
  };
  listeners.push({ identityChanged: () => undefined, policyChanged, authoritiesChanged: () => undefined });
  return { settled: () => last };
}

function fanOut(listeners: readonly RegistryListener[]): RegistryListener {
  return {
    identityChanged: (identity, record) => {
      for (const listener of listeners) listener.identityChanged(identity, record);
    },
    policyChanged: (policy) => {
      for (const listener of listeners) listener.policyChanged(policy);
    },
    authoritiesChanged: (authorities) => {
      for (const listener of listeners) listener.authoritiesChanged(authorities);
    },
  };
}
