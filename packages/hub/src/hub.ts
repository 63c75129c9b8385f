import type { TLSSocket } from 'node:tls';
import { Gateway } from '@culvert/gateway';
import { CulvertError, formatHostPort, formatServiceConnectionString, LIMITS } from '@culvert/protocol';
import { newGrantKeys } from '@culvert/protocol/grant';
import { type Clock, systemClock } from '@culvert/stream';
import { createAdminListener } from './api/admin-listener.ts';
import { createApi, type RestApi } from './api/app.ts';
import { createFrontDoor, createMqttDoor, type UpgradeHandler } from './api/front-door.ts';
import { closeServer, type Listening, listen } from './api/listen.ts';
import { Authenticator } from './auth/authenticate.ts';
import type { CertificateListener } from './auth/certificate-source.ts';
import { PolicyFiles } from './auth/policy-files.ts';
import { UnprovenConnections } from './auth/unproven-connections.ts';
import { advertisedNames, type HubConfig, parseListen } from './config.ts';
import { acceptMqtt, type MqttDeps } from './control/accept-mqtt.ts';
import { acceptMqttWebSocket } from './control/accept-mqtt-web-socket.ts';
import { AttachCheck } from './handshake/attach-check.ts';
import { GrantIssuer } from './handshake/grant-issuer.ts';
import { type HandshakeDeps, requestStream } from './handshake/request-stream.ts';
import { revokeOnChange } from './handshake/revoke.ts';
import { StreamTable } from './handshake/stream-table.ts';
import { HostNames } from './host-names.ts';
import { EventBus } from './observe/event-bus.ts';
import type { EventSink } from './observe/events.ts';
import { openCertificates } from './open-certificates.ts';
import { openStore } from './registry/open-store.ts';
import type { PolicyRecord, RegistryListener } from './registry/registry.ts';
import { Router } from './routing/router.ts';

/** Bytes of a REST body: a device with two 64-byte keys and a reason is below 2 KiB; agents that read and send back add some. */
const MAX_BODY_BYTES = 65_536;

/** Bytes that may wait for a device that does not read its control channel: 64 offers of at most 2 KiB, twice. */
const MAX_QUEUED_BYTES = 262_144;

export interface HubOptions {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Subscribers from before the first event on, such as a log. */
  readonly sinks?: readonly EventSink[];
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
      throw error;
    }
  }

  /** The name and port that connection strings and grants carry. */
  get hostName(): string {
    return this.#parts.names.authority;
  }

  /** Where the main port listens. */
  get address(): Listening {
    return this.#parts.address;
  }

  /** Where MQTT over TLS listens, if it does. */
  get mqttAddress(): Listening | undefined {
    return this.#parts.mqttAddress;
  }

  /** Where `/livez` and `/readyz` listen. */
  get adminAddress(): Listening {
    return this.#parts.adminAddress;
  }

  /** The file clients are to trust; undefined when the operator brought a certificate. */
  get caFile(): string | undefined {
    return this.#parts.caFile;
  }

  /** One sentence to show when clients must be given a new `ca.pem`. */
  get certificateNotice(): string | undefined {
    return this.#parts.certificateNotice;
  }

  /** Streams that are joined right now. */
  get streams(): number {
    return this.#parts.gateway.streams;
  }

  /** Resolves if the hub can no longer work, with the reason. */
  get failed(): Promise<CulvertError> {
    return this.#parts.store.failed;
  }

  /** Looks for a new certificate now (SIGHUP). */
  reload(): Promise<void> {
    return this.#parts.certificates.reload();
  }

  /**
   * Stops, in the reverse order of the start. Idempotent; a second call with 0 cuts the grace of the first short.
   * @param graceMs how long running streams may take to end by themselves; default the configuration's `drainMs`
   */
  stop(graceMs: number = this.#parts.drainMs): Promise<void> {
    if (this.#stopping !== undefined && graceMs === 0) this.#parts.gateway.destroy();
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

  // The store first: it locks the data directory, so that nothing below is done by two hubs at once.
  const listeners: RegistryListener[] = [];
  const store = await openStore({ directory: config.dataDir, clock, listener: fanOut(listeners) });
  undo(() => store.close());

  // Names are known before ports are; certificates need only names.
  const hosts = advertisedNames(config, 0).map(({ host }) => host);
  const renewed: CertificateListener = {
    loaded: (pair) => {
      for (const door of doors) door.setSecureContext(pair);
      events.emit({ type: 'certificate-loaded', notAfter: pair.notAfter.toISOString(), from: pair.from });
    },
    kept: (problem) => events.emit({ type: 'certificate-kept', problem }),
  };
  const certificates = await openCertificates(config, hosts, clock, renewed);
  undo(() => certificates.source.close());

  // The doors before what stands behind them: the port must be known to sign grants and to write connection strings.
  const unproven = new UnprovenConnections({
    clock,
    authenticateMs: LIMITS.authenticateMs,
    maxPerAddress: config.limits.unprovenPerAddress,
  });
  const behind: { doors?: BehindTheDoors } = {};
  const refuse = (socket: TLSSocket) => {
    socket.destroy();
    return Promise.resolve(false);
  };
  const common = {
    pair: certificates.source.current,
    unproven,
    authenticateMs: LIMITS.authenticateMs,
    onTlsError: (error: Error, remoteAddress: string) =>
      events.emit({
        type: 'connection-refused',
        door: 'tls',
        remoteAddress,
        error: 'protocol_error',
        detail: error.message,
      }),
  };
  const front = createFrontDoor({
    ...common,
    onRequest: (request, response) => (behind.doors ? behind.doors.onRequest(request, response) : response.destroy()),
    onControl: (request, socket, head) => behind.doors?.onControl(request, socket, head) ?? refuse(socket),
    onGateway: (request, socket, head) => behind.doors?.onGateway(request, socket, head) ?? refuse(socket),
  });
  const mqtt =
    config.mqttListen === undefined
      ? undefined
      : createMqttDoor({ ...common, onConnection: (socket) => behind.doors?.onMqtt(socket) ?? refuse(socket) });
  const doors = mqtt === undefined ? [front] : [front, mqtt];
  const admin = createAdminListener(() => behind.doors !== undefined && !draining.signal.aborted);
  const address = await listen(front, parseListen('listen', config.listen), 'listen');
  undo(() => closeServer(front));
  const mqttAddress =
    mqtt === undefined
      ? undefined
      : await listen(mqtt, parseListen('mqttListen', config.mqttListen ?? ''), 'mqttListen');
  if (mqtt !== undefined) undo(() => closeServer(mqtt));
  const adminAt = parseListen('adminListen', config.adminListen);
  const adminAddress = await listen(admin, { host: adminAt.host ?? '127.0.0.1', port: adminAt.port }, 'adminListen');
  undo(() => closeServer(admin));

  const names = new HostNames(advertisedNames(config, address.port));
  const policyFiles = new PolicyFiles({ directory: config.dataDir, ...names.main });
  await policyFiles.write(await store.policies.list());

  const grantKeys = await newGrantKeys();
  const gateway = new Gateway({
    grantKey: grantKeys.publicKey,
    clock,
    onEvent: events.emit,
    limits: {
      stallMs: config.limits.stallMs,
      maxStreams: config.limits.streams,
      maxGuests: config.limits.streams,
    },
  });
  undo(() => gateway.destroy());
  const endAtGateway = (streamId: string, error: CulvertError) => void gateway.end(streamId, error);

  const router = new Router(clock);
  const streams = new StreamTable({
    clock,
    onExpired: ({ streamId, deviceId }) => {
      const { code, message } = new CulvertError('handshake_timeout');
      events.emit({ type: 'stream-failed', streamId, deviceId, error: code, detail: message });
    },
  });
  undo(() => streams.clear());
  events.subscribe((event) => {
    if (event.type === 'stream-established' || event.type === 'stream-closed') streams.observe(event);
  });
  listeners.push(revokeOnChange({ router, streams, endAtGateway }));
  listeners.push({
    deviceChanged: () => undefined,
    policyChanged: () => {
      store.policies
        .list()
        .then((policies) => policyFiles.write(policies))
        .catch((error: unknown) => {
          const problem = `The files of the policies could not be written: ${(error as Error).message}`;
          events.emit({ type: 'storage-failed', problem });
        });
    },
  });

  const authenticator = new Authenticator({
    registry: store.registry,
    policies: store.policies,
    audiences: names.audiences,
    clock,
  });
  const handshake: HandshakeDeps = {
    registry: store.registry,
    router,
    grants: new GrantIssuer({ key: grantKeys.privateKey, bootId: gateway.bootId, authority: () => names.main }),
    streams,
    endAtGateway,
    draining: draining.signal,
    clock,
    onEvent: events.emit,
  };
  const policyConnectionString = ({ name, primaryKey }: PolicyRecord) =>
    formatServiceConnectionString({ ...names.main, policy: name, key: primaryKey });
  const api = await createApi({
    registry: store.registry,
    policies: store.policies,
    authenticator,
    router,
    requestStream: (request) => requestStream(request, handshake),
    endpoints: () => ({
      hostName: names.authority,
      streamingEndpoints: [`https://${formatHostPort(names.main.host, names.main.port)}`],
    }),
    policyConnectionString,
    onProven: (request) => unproven.proven(request.raw.socket),
    clock,
    onEvent: events.emit,
    limits: { maxHeldRequests: config.limits.heldRequests, maxBodyBytes: MAX_BODY_BYTES },
  });
  undo(() => api.close());

  const mqttDeps: MqttDeps = {
    authenticate: ({ deviceId, password }) => {
      if (draining.signal.aborted) return Promise.reject(draining.signal.reason);
      if (password === undefined) return Promise.reject(new CulvertError('unauthorized'));
      return authenticator.authenticateDevice(password, deviceId);
    },
    registrar: new AttachCheck({ router, store }),
    clock,
    onEvent: events.emit,
    limits: {
      authenticateMs: LIMITS.authenticateMs,
      maxPacketBytes: LIMITS.mqttPacketBytes,
      maxOffers: config.limits.offersPerDevice,
      maxQueuedBytes: MAX_QUEUED_BYTES,
    },
  };
  behind.doors = {
    onRequest: api.handle,
    onControl: (request, socket, head) => acceptMqttWebSocket(request, socket, head, mqttDeps),
    onGateway: (request, socket, head) => gateway.handleUpgrade(request, socket, head),
    onMqtt: (socket) =>
      acceptMqtt(socket, { remoteAddress: socket.remoteAddress ?? 'unknown', protocol: 'mqtt' }, mqttDeps),
  };
  events.emit({
    type: 'hub-started',
    hostName: names.authority,
    address: formatHostPort(address.host, address.port),
  });
  return {
    names,
    address,
    mqttAddress,
    adminAddress,
    caFile: certificates.caFile,
    certificateNotice: certificates.notice,
    certificates: certificates.source,
    drainMs: config.drainMs,
    doors,
    admin,
    front,
    draining,
    unproven,
    store,
    gateway,
    router,
    streams,
    api,
    events,
  };
}

/** What the doors lead to, once it stands. */
interface BehindTheDoors {
  readonly onRequest: RestApi['handle'];
  readonly onControl: UpgradeHandler;
  readonly onGateway: UpgradeHandler;
  readonly onMqtt: (socket: TLSSocket) => Promise<boolean>;
}

function fanOut(listeners: readonly RegistryListener[]): RegistryListener {
  return {
    deviceChanged: (deviceId, record) => {
      for (const listener of listeners) listener.deviceChanged(deviceId, record);
    },
    policyChanged: (policy) => {
      for (const listener of listeners) listener.policyChanged(policy);
    },
  };
}

async function stopParts(parts: Parts, graceMs: number): Promise<void> {
  const { events, gateway, router, front } = parts;
  // Not ready, and no new handshakes: load balancers and callers go elsewhere.
  parts.draining.abort(new CulvertError('draining'));
  events.emit({ type: 'hub-draining' });
  // No new connections, before those that are there are ended, or they would come back at once.
  const closed = [...parts.doors, parts.admin].map((door) => closeServer(door));
  // Streams may end by themselves; after the grace they are told that the hub is going.
  await gateway.close(graceMs);
  // Devices last: until here they could still be reached for what was already promised.
  const channels = [...router.channels()];
  for (const channel of channels) channel.close(new CulvertError('draining'));
  await Promise.all(channels.map((channel) => channel.closed));
  parts.streams.clear();
  await parts.api.close();
  front.closeAllConnections();
  parts.admin.closeAllConnections();
  parts.unproven.destroyAll();
  await Promise.all(closed);
  parts.certificates.close();
  await parts.store.close();
  events.emit({ type: 'hub-stopped' });
}
