import { performance } from 'node:perf_hooks';
import { DeviceClient } from '@culvert/device';
import type { DeviceConnection } from '../hub-connection.ts';
import type { Found } from './check.ts';
import { elapsedMs } from './network.ts';

/**
 * Attaches as the device for a moment. This disconnects a running agent of that device, which reconnects within half a minute.
 * @throws CulvertError with the reason for which the hub refuses the device
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
    return { found: `attached (${ms} ms), then disconnected`, data: { ms } };
  } finally {
    await client.close();
  }
}
