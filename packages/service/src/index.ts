export {
  type AuditFilter,
  type AuditRecord,
  type AuditType,
  type AuthenticationInput,
  type AuthenticationType,
  type AuthenticationView,
  type AuthorityView,
  type ConnectionClaim,
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type DeviceNotice,
  type DeviceStatus,
  type EndpointInformation,
  type ErrorCode,
  type LimitView,
  type LogCategory,
  type LogOperation,
  type LogRecordLevel,
  type ModuleIdentity,
  type ModuleIdentityInput,
  type PolicyView,
  type PresenceView,
  type ResourceLogRecord,
  type SessionAnswer,
  type SessionClaimsView,
  type SessionReport,
  type SessionRequest,
  type StreamDetailView,
  type StreamNotice,
  type StreamView,
} from '@culvert/protocol';
export {
  EndKey,
  type Fingerprint,
  generateEndKey,
  KnownDevices,
  type Pin,
  type PinnedName,
  parseEndKey,
} from '@culvert/session/keys';
export type { OutboundOptions } from '@culvert/stream';
export type { Audit } from './audit.ts';
export type { Authorities } from './authorities.ts';
export type { DevicePage, DeviceRegistry, ListPageOptions } from './device-registry.ts';
export type { EtagOptions } from './if-match.ts';
export type { FollowedStream, LiveStreams, StreamFilter } from './live-streams.ts';
export type { ListLogOptions, LogEventsOptions, LogFilterOptions, LogPage, Logs } from './logs.ts';
export type { ModuleRegistry } from './module-registry.ts';
export type { Policies } from './policies.ts';
export {
  ServiceClient,
  type ServiceClientOptions,
  type ServiceSessionOptions,
} from './service-client.ts';
export type { DeviceTrustOptions } from './sessions/device-trust.ts';
export type { ServiceSessionEvent } from './sessions/session-event.ts';
export type { DeviceConnection } from './sessions/session-pool.ts';
export type { OpenedSessionStream, OpenStreamOptions, RawReason } from './stream-request.ts';
