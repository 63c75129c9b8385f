import { CulvertError, formatDeviceConnectionString, parseServiceConnectionString } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';

/** The quickstart's device. */
export const DEMO_DEVICE = 'demo';

/** The demo device's connection string. Registers the device if it does not exist yet. */
export async function demoConnectionString(client: ServiceClient, hub: string): Promise<string> {
  const device = await client.devices.get(DEMO_DEVICE).catch((error: unknown) => {
    if (error instanceof CulvertError && error.code === 'device_not_found') return client.devices.create(DEMO_DEVICE);
    throw error;
  });
  if (device.status === 'disabled') {
    throw new CulvertError(
      'device_disabled',
      `the device '${DEMO_DEVICE}' is disabled on this hub; enable or delete it first`,
    );
  }
  const { host, port } = parseServiceConnectionString(hub);
  const key = device.authentication.symmetricKey.primaryKey;
  return formatDeviceConnectionString({ host, port, deviceId: DEMO_DEVICE, key });
}
