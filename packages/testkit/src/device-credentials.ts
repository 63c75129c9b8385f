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

/** Hub settings (`clientCertificates`, `advertise`) required for device certificates. */
export const CERTIFICATE_HOST = 'localhost';

/** A key, and a token made of it. The hub forgives five minutes of skew beyond its expiry. */
export const sasCredentials: DeviceCredentials = {
  name: 'SAS',
  async register(hub, identity, expiresAt) {
    const { authentication } = await create(hub, identity);
    const audience = `${formatAuthority(hub.hostName, hub.port)}/${identityPath(identity)}`;
    const key = authentication.symmetricKey.primaryKey ?? '';
    return { token: await signSasToken({ audience, key, expiry: Math.floor(expiresAt / 1000) }) };
  },
};

/** Of a module: a token for it that is made with its device's key, as the module connection strings of Azure's test suites are. */
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

/** A certificate signed by itself, known by one of its thumbprints in one of the two places. */
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

/** A certificate of a registered authority, or of one that such an authority vouches for and the device sends along. */
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
