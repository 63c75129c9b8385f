import { join } from 'node:path';
import { Hub, parseHubConfig } from '@culvert/hub';
import { CulvertError } from '@culvert/protocol';
import { type Agent, startAgent, type Target } from '@culvert/proxy/agent';
import { ServiceClient } from '@culvert/service';
import { serviceConnection } from '../hub-connection.ts';
import { DEMO_DEVICE, demoConnectionString } from './demo-device.ts';
import { isTaken, type Listener, listenSomewhere } from './listen-somewhere.ts';
import { sshAnswers, startEcho, startPage } from './local-servers.ts';
import { page } from './page.ts';

/** The preferred ports of the service-local proxy, by service. */
const PORTS: Readonly<Record<string, number>> = { web: 8080, echo: 7007, ssh: 2222 };

/** Preferred listening address of the hub. */
const DEFAULT_LISTEN = '127.0.0.1:8443';

/** Milliseconds that streams have to end when the quickstart stops. */
const GRACE_MS = 2_000;

export interface QuickstartOptions {
  /** Default {@link DEFAULT_LISTEN}, or a free port if that one is in use. */
  readonly listen?: string | undefined;
  readonly dataDir: string;
  /** Called with a message for a person when a stream fails. */
  readonly onProblem: (text: string) => void;
  /** For tests: a default address other than {@link DEFAULT_LISTEN}. */
  readonly usual?: string;
  /** Default {@link PORTS}; 0 for a free one. */
  readonly ports?: Readonly<Record<string, number>>;
}

/** All servers and proxies of the quickstart; all listen on loopback. */
export interface Quickstart {
  readonly hub: Hub;
  readonly agent: Agent;
  readonly listeners: readonly Listener[];
  /** The hub's default address, if another program uses it. */
  readonly taken: string | undefined;
  /** Stops everything, in the reverse order of the start. */
  stop(): Promise<void>;
}

/**
 * Starts a hub, a device with its agent, and a service-local proxy.
 * @throws CulvertError with a message of one line that holds advice; everything that was started is stopped first
 */
export async function startQuickstart(options: QuickstartOptions): Promise<Quickstart> {
  const undo: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return { ...(await start(options, undo)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(options: QuickstartOptions, undo: (() => unknown)[]): Promise<Omit<Quickstart, 'stop'>> {
  const { hub, taken } = await startHub(options);
  undo.push(() => hub.stop(GRACE_MS));

  const { connectionString, outbound } = serviceConnection({ dataDir: options.dataDir }, 'iothubowner');
  const client = ServiceClient.fromConnectionString(connectionString, { outbound });
  undo.push(() => client.close());

  const services = await localServices(undo);
  const agent = startAgent({
    connectionString: await demoConnectionString(client, connectionString),
    services,
    outbound,
    sessionKeys: { key: join(options.dataDir, 'demo-end-key.pem') },
    onEvent: (event) => {
      if (event.type === 'state' && event.error !== undefined) options.onProblem(`device: ${event.error.message}`);
    },
  });
  undo.push(() => agent.close(GRACE_MS));
  await agent.attached;

  const listeners: Listener[] = [];
  for (const name of services.keys()) {
    const port = (options.ports ?? PORTS)[name] ?? 0;
    const listener = await listenSomewhere(
      {
        openStream: (deviceId, open) => client.openStream(deviceId, open),
        deviceId: DEMO_DEVICE,
        onEvent: (event) => {
          if (event.type === 'stream-failed') options.onProblem(`${event.service}: ${event.error.message}`);
        },
      },
      name,
      port,
    );
    undo.push(() => listener.proxy.close(GRACE_MS));
    listeners.push(listener);
  }
  return { hub, agent, listeners, taken };
}

async function startHub({
  dataDir,
  listen,
  usual = DEFAULT_LISTEN,
}: QuickstartOptions): Promise<Pick<Quickstart, 'hub' | 'taken'>> {
  const at = (address: string) => parseHubConfig({ dataDir, listen: address, adminListen: '127.0.0.1:0' });
  const config = at(listen ?? usual);
  try {
    return { hub: await Hub.start(config), taken: undefined };
  } catch (error) {
    if (!isTaken(error)) throw error;
    if (listen === undefined) return { hub: await Hub.start(at('127.0.0.1:0')), taken: usual };
    const where = `${config.listen} is in use by another program`;
    throw new CulvertError('internal', `${where}: stop it, or choose another with --listen 127.0.0.1:PORT`, {
      cause: error,
    });
  }
}

/** Starts the services that the device offers: a page, an echo, and the SSH server if this machine has one. */
async function localServices(undo: (() => unknown)[]): Promise<ReadonlyMap<string, Target>> {
  let visits = 0;
  const web = await startPage(() => {
    visits += 1;
    return page(DEMO_DEVICE, visits, new Date());
  });
  undo.push(() => web.close());
  const echo = await startEcho();
  undo.push(() => echo.close());
  const services = new Map<string, Target>([
    ['web', { host: '127.0.0.1', port: web.port }],
    ['echo', { host: '127.0.0.1', port: echo.port }],
  ]);
  if (await sshAnswers()) services.set('ssh', { host: '127.0.0.1', port: 22 });
  return services;
}
