import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EventSink, Hub, type HubConfigInput, type HubEvent, parseHubConfig } from '@culvert/hub';
import { formatDeviceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import type { Clock, OutboundOptions } from '@culvert/stream';

/** A real hub in this process, on free loopback ports, with its own data directory. */
export interface TestHub {
  readonly hub: Hub;
  readonly hostName: '127.0.0.1';
  readonly port: number;
  readonly directory: string;
  /** The certificate of the authority that clients must trust, PEM. */
  readonly ca: string;
  /** Options for connections to the hub. */
  readonly outbound: OutboundOptions;
  readonly ownerConnectionString: string;
  /** All events so far, oldest first. */
  readonly events: readonly HubEvent[];
  /** Resolves with the first event, past or future, that matches. */
  event<Type extends HubEvent['type']>(
    type: Type,
    matches?: (event: Extract<HubEvent, { type: Type }>) => boolean,
  ): Promise<Extract<HubEvent, { type: Type }>>;
  /** A policy's connection string. */
  policy(name: string): Promise<string>;
  /** Registers a device and returns its connection string. */
  createDevice(deviceId: string): Promise<string>;
  /**
   * A client with all permissions. It is closed when the hub is stopped. Its streams are raw, so that a test of the hub sees each stream that it opens;
   * a test of sessions creates a client of its own.
   */
  readonly owner: ServiceClient;
  /** Stops the hub and, unless `keep`, removes its directory. */
  stop(options?: { graceMs?: number; keep?: boolean }): Promise<void>;
}

export interface TestHubOptions {
  readonly clock?: Clock;
  /** Settings that override the default configuration of a test hub. */
  readonly config?: Partial<HubConfigInput>;
  /** The entry module of the gateway's threads, instead of the hub's own. */
  readonly gatewayEntry?: URL;
  /** The data directory of an earlier hub that was stopped with `keep`. */
  readonly directory?: string;
}

/** Starts a hub for a test. */
export async function startHub(options: TestHubOptions = {}): Promise<TestHub> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'culvert-hub-')));
  const events: HubEvent[] = [];
  const waiting = new Set<EventSink>();
  const sink: EventSink = (event) => {
    events.push(event);
    for (const wake of [...waiting]) wake(event);
  };
  const config = parseHubConfig({
    dataDir: directory,
    listen: '127.0.0.1:0',
    adminListen: '127.0.0.1:0',
    drainMs: 0,
    ...options.config,
  });
  const { clock, gatewayEntry } = options;
  const hub = await Hub.start(config, {
    sinks: [sink],
    ...(clock === undefined ? {} : { clock }),
    ...(gatewayEntry === undefined ? {} : { gatewayEntry }),
  });
  const ca = await readFile(join(directory, 'ca.pem'), 'utf8');
  const policy = async (name: string) => (await readFile(join(directory, 'policies', name), 'utf8')).trim();
  const ownerConnectionString = await policy('iothubowner');
  const outbound: OutboundOptions = { ca, proxy: false };
  const owner = ServiceClient.fromConnectionString(ownerConnectionString, { outbound, session: false });
  const { port } = hub.address;
  return {
    hub,
    hostName: '127.0.0.1',
    port,
    directory,
    ca,
    outbound,
    ownerConnectionString,
    events,
    owner,
    policy,
    event: (type, matches = () => true) =>
      new Promise((resolve) => {
        const look = (event: HubEvent): boolean => {
          if (event.type !== type) return false;
          const found = event as Extract<HubEvent, { type: typeof type }>;
          if (!matches(found)) return false;
          resolve(found);
          return true;
        };
        if (events.some(look)) return;
        const wake: EventSink = (event) => {
          if (look(event)) waiting.delete(wake);
        };
        waiting.add(wake);
      }),
    async createDevice(deviceId) {
      const { authentication } = await owner.devices.create(deviceId);
      return formatDeviceConnectionString({
        host: '127.0.0.1',
        port,
        deviceId,
        key: authentication.symmetricKey.primaryKey,
      });
    },
    async stop({ graceMs = 0, keep = false } = {}) {
      owner.close();
      await hub.stop(graceMs);
      if (!keep) await rm(directory, { recursive: true, force: true });
    },
  };
}
