import {
  type AuthenticationInput,
  formatAuthority,
  type Identity,
  identityName,
  identityPath,
  signSasToken,
} from '@culvert/protocol';
import { deviceCertificate, type TestAuthority, testAuthority } from './device-certificate.ts';
import type { DeviceCredentials } from './device-conformance.ts';
import type { TestHub } from './test-hub.ts';

/** The host at which devices present certificates. The hub's settings `clientCertificates` and `advertise` must contain it. */
export const CERTIFICATE_HOST = 'localhost';

/** A token that is signed with the identity's own key. The hub accepts it until five minutes after its expiry, because clocks may differ. */
export const sasCredentials: DeviceCredentials = {
  name: 'SAS',
  async register(hub, identity, expiresAt) {
    const { authentication } = await create(hub, identity);
    const audience = `${formatAuthority(hub.hostName, hub.port)}/${identityPath(identity)}`;
    const key = authentication.symmetricKey.primaryKey ?? '';
    return { token: await signSasToken({ audience, key, expiry: Math.floor(expiresAt / 1000) }) };
  },
};

/** For a module: a token that is signed with the key of its device, like the module connection strings of Azure's test suites. */
export const deviceKeyCredentials: DeviceCredentials = {
  name: "SAS by its device's key",
  async register(hub, identity, expiresAt) {
    await create(hub, identity);
    const { authentication } = await hub.owner.devices.get(identity.deviceId);
    const audience = `${formatAuthority(hub.hostName, hub.port)}/${identityPath(identity)}`;
    const key = authentication.symmetricKey.primaryKey ?? '';
    return { token: await signSasToken({ audience, key, expiry: Math.floor(expiresAt / 1000) }) };
  },
};

/** A self-signed certificate, registered by its SHA-1 or SHA-256 thumbprint as the primary or the secondary one. */
export function thumbprintCredentials(
  hash: 'sha1' | 'sha256',
  place: 'primaryThumbprint' | 'secondaryThumbprint',
): DeviceCredentials {
  return {
    name: `X.509 by ${hash}, ${place}`,
    async register(hub, identity, expiresAt) {
      const certificate = await deviceCertificate(identityName(identity), { notAfter: new Date(expiresAt) });
      await create(hub, identity, { type: 'selfSigned', x509Thumbprint: { [place]: certificate[hash] } });
      return { certificate: { ...certificate, servername: CERTIFICATE_HOST } };
    },
  };
}

/** A certificate that was issued by a registered authority, or by an intermediate authority whose certificate the device sends too. */
export function authorityCredentials(through: 'directly' | 'through another'): DeviceCredentials {
  let authority: Promise<{ root: TestAuthority; issuer: TestAuthority }> | undefined;
  const make = async () => {
    const root = await testAuthority('Root');
    return { root, issuer: through === 'directly' ? root : await testAuthority('Issuing', { issuer: root }) };
  };
  return {
    name: `X.509 by an authority, ${through}`,
    async register(hub, identity, expiresAt) {
      authority ??= make();
      const { root, issuer } = await authority;
      await hub.owner.authorities.add('root', root.certificate);
      await create(hub, identity, { type: 'certificateAuthority' });
      const options = { authority: issuer, notAfter: new Date(expiresAt) };
      const certificate = await deviceCertificate(identityName(identity), options);
      return { certificate: { ...certificate, servername: CERTIFICATE_HOST } };
    },
  };
}

function create(hub: TestHub, { deviceId, moduleId }: Identity, authentication?: AuthenticationInput) {
  const input = authentication === undefined ? {} : { authentication };
  if (moduleId === undefined) return hub.owner.devices.create(deviceId, input);
  return hub.owner.modules.create(deviceId, moduleId, input);
}
