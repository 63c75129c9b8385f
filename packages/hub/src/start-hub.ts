import { formatHostPort } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { packageVersion } from '@culvert/stream/package-version';
import { createApi } from './api/app.ts';
import { Subscribers } from './api/event-stream/subscribers.ts';
import { PolicyFileWriter } from './auth/policy-file-writer.ts';
import { PolicyFiles } from './auth/policy-files.ts';
import { advertisedNames, certificateNames, type HubConfig } from './config/config.ts';
import { HostNames } from './config/host-names.ts';
import { CONTROL_TRANSPORTS } from './control/control-transports.ts';
import { gatewayWorkersOptions } from './gateway/start-workers.ts';
import { createStreaming, type Streaming } from './handshake/create-streaming.ts';
import {
  type ConnectedParts,
  connectionHandlers,
  createApiDeps,
  createAuthenticator,
  createControlDeps,
  metricSources,
} from './hub-deps.ts';
import type { HubCore, HubObservers, HubOptions, HubParts, OpenedParts } from './hub-parts.ts';
import { Listeners } from './listeners/listeners.ts';
import { Readiness } from './listeners/readiness.ts';
import { emitInterrupted } from './observe/audit/emit-interrupted.ts';
import { openAudit } from './observe/audit/open-audit.ts';
import { EventBus } from './observe/event-bus.ts';
import { RecentDisconnects } from './observe/last-disconnect.ts';
import { LiveStreams } from './observe/live-streams.ts';
import { HubMetrics } from './observe/metrics/hub-metrics.ts';
import { openResourceLog } from './observe/resource-log/open-resource-log.ts';
import { openTracing } from './observe/tracing/open-tracing.ts';
import { openStore } from './registry/open-store.ts';
import { RegistryListeners } from './registry/registry-listeners.ts';
import { type Certificates, openCertificates } from './tls/open-certificates.ts';

/**
 * Starts a hub; each step runs after the steps that it needs.
 * @param opened receives every part as soon as it is open, so that `stopHub` can close it if a later step fails
 * @throws CulvertError `config_invalid`; errors of the file system
 */
export async function startHub(config: HubConfig, options: HubOptions, opened: OpenedParts): Promise<HubParts> {
  const core = createCore(options);
  Object.assign(opened, core);
  const { clock, events } = core;
  // The store first: it locks the data directory, so that two hubs cannot run the steps below at the same time.
  const store = await openStore({
    directory: config.dataDir,
    clock,
    listener: core.registryListeners,
    onCall: core.metrics.registryCall,
  });
  opened.store = store;
  // Certificates before listeners: certificates need only the names, not the port.
  const certificates = await openHubCertificates(config, core, opened);
  opened.certificates = certificates;
  // Listeners before the parts that handle their connections: grants and connection strings need the port.
  const listeners = await openListeners(config, core, certificates);
  opened.listeners = listeners;
  const names = new HostNames(advertisedNames(config, listeners.address.port));
  const policyFiles = new PolicyFileWriter({
    files: new PolicyFiles({ directory: config.dataDir, ...names.main }),
    policies: store.policies,
    onEvent: events.emit,
  });
  await policyFiles.writeAll();
  opened.policyFiles = policyFiles;
  core.registryListeners.add(policyFiles);
  core.gateway.name = formatHostPort(names.main.host, names.main.port);
  const observers = await openObservers({ config, core, names, isRegistered: store.registry.remembers }, opened);
  const streaming = await openStreaming({ config, options, core, certificates }, { store, names });
  opened.streaming = streaming;
  const subscribers = new Subscribers(clock);
  opened.subscribers = subscribers;
  core.registryListeners.add(streaming.revocation, subscribers.revocation);

  const parts: ConnectedParts = {
    ...{ ...core, ...observers, store, certificates, listeners, names, policyFiles, streaming, subscribers },
  };
  const authenticator = createAuthenticator(parts);
  const api = await createApi(createApiDeps(config, parts, authenticator));
  opened.api = api;
  const control = createControlDeps(config, parts, authenticator);
  listeners.setHandlers(connectionHandlers(config, parts, { api, control }));
  core.metrics.report(metricSources(parts));
  core.readiness.up(store);
  const { host, port } = listeners.address;
  events.emit({ type: 'hub-started', hostName: names.authority, address: formatHostPort(host, port) });
  return { ...parts, api, drainMs: config.drainMs };
}

function createCore(options: HubOptions): HubCore {
  const clock = options.clock ?? systemClock;
  const events = new EventBus();
  for (const sink of options.sinks ?? []) events.subscribe(sink);
  const gateway = { name: '' };
  const live = new LiveStreams({ clock, onEvent: events.emit, gateway: () => gateway.name });
  events.subscribe(live.observe);
  const version = packageVersion(import.meta.url);
  const metrics = new HubMetrics({ live, version });
  events.subscribe(metrics.observe);
  return {
    ...{ clock, events, live, metrics, version, gateway },
    draining: new AbortController(),
    readiness: new Readiness(clock),
    registryListeners: new RegistryListeners(),
  };
}

/** @param opened its listeners and gateway threads receive each new certificate */
function openHubCertificates(
  config: HubConfig,
  { clock, events }: HubCore,
  opened: OpenedParts,
): Promise<Certificates> {
  return openCertificates(config, certificateNames(config), clock, {
    loaded: (pair) => {
      opened.listeners?.present(pair);
      opened.streaming?.threads?.present(pair);
      events.emit({ type: 'certificate-loaded', notAfter: pair.notAfter.toISOString(), from: pair.from });
    },
    kept: (problem) => events.emit({ type: 'certificate-kept', problem }),
  });
}

function openListeners(
  config: HubConfig,
  { clock, events, readiness, metrics }: HubCore,
  certificates: Certificates,
): Promise<Listeners> {
  return Listeners.open({
    ...{ config, transports: CONTROL_TRANSPORTS, clock, onEvent: events.emit },
    pair: certificates.source.current,
    admin: { readiness: readiness.check, metrics },
  });
}

/** Opens the event subscribers, each after those that it reads from. */
async function openObservers(
  {
    config,
    core,
    names,
    isRegistered,
  }: {
    config: HubConfig;
    core: HubCore;
    names: HostNames;
    isRegistered: HubParts['store']['registry']['remembers'];
  },
  opened: OpenedParts,
): Promise<HubObservers> {
  const { clock, events, live, version } = core;
  const tracing = openTracing(config.tracing, { live, version, instance: core.gateway.name, clock });
  opened.tracing = tracing;
  events.subscribe(tracing.observe);
  const observed = { clock, events, streams: live, isRegistered };
  const resourceLog = await openResourceLog({ ...config, hostName: names.main.host, ...observed });
  opened.resourceLog = resourceLog;
  const lastDisconnects = new RecentDisconnects(clock, resourceLog.lastDisconnect);
  events.subscribe(lastDisconnects.observe);
  // After the store, whose lock the audit log needs too; before the first event that the audit log must record.
  const audit = await openAudit(config.audit, config.dataDir, { clock, onEvent: events.emit, streams: live });
  opened.audit = audit;
  events.subscribe(audit.observe);
  await emitInterrupted(audit, { clock, onEvent: events.emit });
  return { tracing, resourceLog, lastDisconnects, audit };
}

async function openStreaming(
  {
    config,
    options,
    core,
    certificates,
  }: { config: HubConfig; options: HubOptions; core: HubCore; certificates: Certificates },
  { store, names }: Pick<HubParts, 'store' | 'names'>,
): Promise<Streaming> {
  const { clock, events, live, draining, gateway } = core;
  const streaming = await createStreaming({
    ...{ clock, events, live, names, registry: store.registry, usage: store.usage },
    limits: config.limits,
    webAssembly: config.gatewayWebAssembly,
    threads: gatewayWorkersOptions(config, certificates.source.current, events.emit, options.gatewayEntry),
    draining: draining.signal,
  });
  const { threads } = streaming;
  if (threads !== undefined) gateway.name = formatHostPort(threads.name.host, threads.name.port);
  return streaming;
}
