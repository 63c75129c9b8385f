export {
  CulvertError,
  type DeviceIdentity,
  type DeviceIdentityInput,
  type EndpointInformation,
  type ErrorCode,
  type LogCategory,
  type LogOperation,
  type LogRecordLevel,
  type PolicyView,
  type ResourceLogRecord,
} from '@culvert/protocol';
export type { OutboundOptions } from '@culvert/stream';
export type { DevicePage, DeviceRegistry, EtagOptions, ListPageOptions } from './device-registry.ts';
export type { FollowLogOptions, ListLogOptions, LogFilterOptions, LogPage, Logs } from './logs.ts';
export type { Policies } from './policies.ts';
export { ServiceClient, type ServiceClientOptions } from './service-client.ts';
export type { OpenStreamOptions } from './stream-request.ts';
