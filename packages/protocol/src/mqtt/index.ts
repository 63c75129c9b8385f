export * from './codec.ts';
export { PacketGuard } from './packet-guard.ts';
