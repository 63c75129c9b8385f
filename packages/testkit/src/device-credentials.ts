import { formatAuthority, identityPath, signSasToken } from '@culvert/protocol';
import type { DeviceCredentials } from './device-conformance.ts';

/** A key, and a token made of it. The hub forgives five minutes of skew beyond its expiry. */
export const sasCredentials: DeviceCredentials = {
  name: 'SAS',
  async register(hub, identity, expiresAt) {
    const { deviceId, moduleId } = identity;
    const { authentication } =
      moduleId === undefined
        ? await hub.owner.devices.create(deviceId)
        : await hub.owner.modules.create(deviceId, moduleId);
    const audience = `${formatAuthority(hub.hostName, hub.port)}/${identityPath(identity)}`;
    const key = authentication.symmetricKey.primaryKey ?? '';
    return { token: await signSasToken({ audience, key, expiry: Math.floor(expiresAt / 1000) }) };
  },
};
