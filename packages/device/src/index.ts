export { CulvertError, type ErrorCode } from '@culvert/protocol';
export type { ClientCertificate, OutboundOptions } from '@culvert/stream';
export { DeviceClient, type DeviceClientOptions, type DeviceClientState } from './device-client.ts';
export type { AcceptOptions, StreamOffer } from './stream-offer.ts';
