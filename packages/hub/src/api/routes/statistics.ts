import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

/** How many devices are registered and how many are connected: `/statistics`, in Azure's format (docs/protocol/06-identity-rest.md). */
export function statisticsRoutes(api: Api, { registry, router }: ApiDeps, authorization: Authorization): void {
  const options = { ...authorization.to('registry.read'), schema: { tags: ['devices'] } };

  api.get('/statistics/devices', options, async () => {
    const { total, disabled } = await registry.count();
    return { totalDeviceCount: total, enabledDeviceCount: total - disabled, disabledDeviceCount: disabled };
  });

  api.get('/statistics/service', options, () => Promise.resolve({ connectedDeviceCount: router.connectedDevices }));
}
