export * from './codec.ts';
export type { Credentials } from './connect-request.ts';
export * from './device-session.ts';
export * from './hub-session.ts';
export { PacketSizeLimiter } from './packet-size-limiter.ts';
