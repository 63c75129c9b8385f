export {
  type AuditFilter,
  type AuditRecord,
  type AuditType,
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type EndpointInformation,
  type ErrorCode,
  type PolicyView,
} from '@culvert/protocol';
export type { OutboundOptions } from '@culvert/stream';
export type { Audit } from './audit.ts';
export type { DevicePage, DeviceRegistry, EtagOptions, ListPageOptions } from './device-registry.ts';
export type { Policies } from './policies.ts';
export { ServiceClient, type ServiceClientOptions } from './service-client.ts';
export type { OpenStreamOptions } from './stream-request.ts';
