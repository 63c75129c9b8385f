export * from './codec.ts';
export type { Credentials } from './connect-request.ts';
export * from './device-session.ts';
export * from './hub-session.ts';
export { PacketGuard } from './packet-guard.ts';
