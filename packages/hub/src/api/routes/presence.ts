import { type Identity, type PresenceView, parseDeviceId, parseModuleId } from '@culvert/protocol';
import { z } from 'zod';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';
import { presenceView } from '../documents/presence.ts';
import { EVENT_STREAM } from '../event-stream/accept-constraint.ts';
import { DeviceFollowing } from '../event-stream/device-events.ts';
import { existing } from './identity-writes.ts';

const device = z.object({ deviceId: z.string() });
const module = z.object({ deviceId: z.string(), moduleId: z.string() });
const filter = z.looseObject({ device: z.string().max(128).optional() });

/** Presence: which devices are online and since when, and why others disconnected. A Culvert extension, so errors are RFC 9457 problem documents. */
export function presenceRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const { live, router, registry } = deps;
  const following = new DeviceFollowing(live, router);
  const options = { config: { errors: 'problem' as const }, ...authorization.to('monitor.read') };
  const tags = ['live view'];
  const presence = async (identity: Identity): Promise<PresenceView> => {
    await existing(registry, identity);
    const last = await live.lastDisconnect(identity);
    return presenceView(identity, router.channel(identity), { streams: live.streams.of(identity), last });
  };

  api.get('/devices/:deviceId/presence', { ...options, schema: { params: device, tags } }, async (request) => {
    return presence({ deviceId: parseDeviceId(request.params.deviceId) });
  });

  const ofModule = '/devices/:deviceId/modules/:moduleId/presence';
  api.get(ofModule, { ...options, schema: { params: module, tags } }, async (request) => {
    const { deviceId, moduleId } = request.params;
    return presence({ deviceId: parseDeviceId(deviceId), moduleId: parseModuleId(moduleId) });
  });

  // Only for requests that accept an event stream, because a device may have the id `events`.
  api.get(
    '/devices/events',
    { ...options, constraints: { accept: EVENT_STREAM }, schema: { querystring: filter, tags } },
    async (request, reply) => {
      const principal = authorization.principal(request);
      live.subscribers.assertPlace();
      reply.hijack();
      await following.follow(reply.raw, principal, request.query.device);
    },
  );
}
