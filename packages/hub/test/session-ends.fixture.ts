import { DeviceClient, type DeviceClientOptions, type SessionEvent, type StreamOffer } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import { ServiceClient, type ServiceClientOptions, type ServiceSessionEvent } from '@culvert/service';
import type { TestHub } from '@culvert/testkit';

/** Answers a connection by sending everything back. */
export async function echo(offer: StreamOffer): Promise<void> {
  const stream = await offer.accept();
  stream.on('error', () => undefined);
  stream.pipe(stream);
}

/** A device and a service of a hub, with what happened to their sessions. */
export class SessionEnds {
  readonly deviceEvents: SessionEvent[] = [];
  readonly serviceEvents: ServiceSessionEvent[] = [];
  /** The errors with which connections ended at the device. */
  readonly deviceErrors: CulvertError[] = [];
  readonly #hub: TestHub;
  readonly #cleanups: (() => unknown)[] = [];

  constructor(hub: TestHub) {
    this.#hub = hub;
  }

  /** Attaches a device that echoes. @param connectionString default: of the new device `d` */
  async device(
    options: Partial<DeviceClientOptions> = {},
    connectionString: string | undefined = undefined,
  ): Promise<DeviceClient> {
    const client = DeviceClient.fromConnectionString(connectionString ?? (await this.#hub.createDevice('d')), {
      onStream: async (offer) => {
        const stream = await offer.accept();
        stream.on('error', (error: CulvertError) => this.deviceErrors.push(error));
        stream.pipe(stream);
      },
      outbound: this.#hub.outbound,
      session: { onEvent: (event) => this.deviceEvents.push(event) },
      ...options,
    });
    this.#cleanups.push(() => client.close());
    await client.open();
    return client;
  }

  /** A client of the policy `service`. */
  async service(options: ServiceClientOptions = {}, policy = 'service'): Promise<ServiceClient> {
    const client = ServiceClient.fromConnectionString(await this.#hub.policy(policy), {
      outbound: this.#hub.outbound,
      session: { onEvent: (event) => this.serviceEvents.push(event) },
      ...options,
    });
    this.#cleanups.push(() => client.close());
    return client;
  }

  async stop(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }
}

/** Sends a word and resolves when it is back. */
export async function roundTrip(stream: NodeJS.ReadWriteStream, word = 'hello'): Promise<string> {
  stream.write(word);
  return new Promise((resolve, reject) => {
    stream.once('error', reject);
    stream.once('data', (data: Buffer) => {
      stream.off('error', reject);
      resolve(data.toString());
    });
  });
}

/** Resolves with the error that a stream ends with. */
export function failure(stream: NodeJS.ReadWriteStream): Promise<CulvertError> {
  return new Promise((resolve) =>
    stream.on('data', () => undefined).once('error', (error) => resolve(error as CulvertError)),
  );
}
