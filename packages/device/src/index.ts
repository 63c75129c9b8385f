export {
  type Announcement,
  type ConnectionClaim,
  CulvertError,
  type ErrorCode,
  type OfferedServices,
  type SessionAnswer,
  type SessionCapability,
  type SessionReport,
  type SessionRequest,
} from '@culvert/protocol';
export {
  type AuthorizedServices,
  EndKey,
  type Fingerprint,
  generateEndKey,
  parseAuthorizedServices,
  parseEndKey,
} from '@culvert/session/keys';
export type { ClientCertificate, OutboundOptions } from '@culvert/stream';
export { DeviceClient, type DeviceClientOptions, type DeviceClientState } from './device-client.ts';
export type { SessionEvent } from './session-event.ts';
export type { SessionKeyOptions } from './session-keys.ts';
export {
  type SendReport,
  type ServeSessionsOptions,
  SessionServer,
  type SessionServerOptions,
} from './session-server.ts';
export type { AcceptOptions, StreamOffer } from './stream-offer.ts';
