import { performance } from 'node:perf_hooks';
import { DeviceClient } from '@culvert/device';
import type { DeviceConnection } from '../hub-connection.ts';
import type { Found } from './check.ts';
import { elapsedMs } from './network.ts';

/**
 * Attaches as the device for a moment. An agent that runs for it is put off the hub by that and comes back within half a minute.
 * @throws CulvertError what the hub refuses the device with
 */
export async function checkControlChannel({ connectionString, ...reach }: DeviceConnection): Promise<Found> {
  const client = DeviceClient.fromConnectionString(connectionString, {
    ...reach,
    onStream: (offer) => offer.reject('This is culvert doctor, which takes no streams.'),
  });
  const started = performance.now();
  try {
    await client.open();
    const ms = elapsedMs(started);
    return { found: `attached (${ms} ms), and left again`, data: { ms } };
  } finally {
    await client.close();
  }
}
