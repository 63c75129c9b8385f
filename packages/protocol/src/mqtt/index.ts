export * from './codec.ts';
export * from './device-session.ts';
export { PacketGuard } from './packet-guard.ts';
