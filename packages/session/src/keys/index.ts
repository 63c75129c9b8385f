export {
  type AuthorizedServices,
  parseAuthorizedServices,
  readAuthorizedServices,
} from './authorized-services.ts';
export type { CertificateSubject } from './certificate-names.ts';
export {
  type DeviceDecision,
  type DeviceSituation,
  decideForDevice,
  decideForService,
  type ServiceDecision,
  type ServiceSituation,
  type StreamMode,
} from './encryption-policy.ts';
export { EndKey, generateEndKey, type OpenEndKeyOptions, openEndKey, parseEndKey } from './end-key.ts';
export { type Fingerprint, fingerprintOf, parseFingerprint } from './fingerprint.ts';
export { readFleetAuthorities } from './fleet-authority.ts';
export { KnownDevices } from './known-devices.ts';
export type { Pin, PinnedName } from './known-devices-file.ts';
export { deviceLinkContext, type LinkContext, type LinkContextOptions, serviceLinkContext } from './link-context.ts';
export type { LinkPeer } from './link-peer.ts';
export { MemoryPins } from './memory-pins.ts';
export {
  anyServiceCheck,
  authorizedServiceCheck,
  fleetDeviceCheck,
  type PeerCheck,
  type PinCheckOptions,
  pinCheck,
  sameKeyCheck,
} from './peer-checks.ts';
export type { PinStore, PinVerdict } from './pin-store.ts';
export { makePrivateDirectory } from './private-file.ts';
export { LINK_HANDSHAKE_MS, type SecureLink, type SecureLinkOptions, secureLink } from './secure-link.ts';
