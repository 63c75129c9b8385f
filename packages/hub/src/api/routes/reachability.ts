import { type Identity, parseDeviceId, parseModuleId, type ReachabilityView } from '@culvert/protocol';
import { z } from 'zod';
import { namesOtherHostKeys } from '../../handshake/host-keys.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { existing } from './identity-writes.ts';

const device = z.object({ deviceId: z.string() });
const module = z.object({ ...device.shape, moduleId: z.string() });

/**
 * `GET /devices/{id}/reachability`: whether a stream to the device or module can be requested. Every caller that may request a stream may use it,
 * since the request itself would show the same. A Culvert extension, so errors are RFC 9457 problem documents.
 */
export function reachabilityRoutes(api: Api, { registry, router }: ApiDeps, authorization: Authorization): void {
  const options = { config: { errors: 'problem' as const }, ...authorization.to('stream.open') };
  const tags = ['streams'];
  const view = async (identity: Identity): Promise<ReachabilityView> => {
    const { deviceId, moduleId } = identity;
    const record = await existing(registry, identity);
    const { status } = moduleId === undefined ? record : await existing(registry, { deviceId });
    const channel = router.channel(identity);
    const { sshHostKeys } = record;
    return {
      deviceId,
      moduleId: moduleId ?? null,
      status,
      online: channel?.takesOffers ?? false,
      sshHostKeys,
      namesOtherHostKeys: namesOtherHostKeys(sshHostKeys, channel),
    };
  };

  api.get('/devices/:deviceId/reachability', { ...options, schema: { params: device, tags } }, (request) =>
    view({ deviceId: parseDeviceId(request.params.deviceId) }),
  );
  api.get(
    '/devices/:deviceId/modules/:moduleId/reachability',
    { ...options, schema: { params: module, tags } },
    ({ params: { deviceId, moduleId } }) =>
      view({ deviceId: parseDeviceId(deviceId), moduleId: parseModuleId(moduleId) }),
  );
}
