export type { DirectionCounters, GatewayEvent, StreamCounters } from './events.ts';
export { Gateway, type GatewayOptions } from './gateway.ts';
export type { GatewayControl } from './gateway-control.ts';
export { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts';
export { GatewayThread, type ThreadDoor } from './threads/gateway-thread.ts';
export { GatewayThreads, type GatewayThreadsOptions } from './threads/gateway-threads.ts';
export type { ThreadAddress, ThreadDoorStart, ThreadPair, ThreadStart } from './threads/messages.ts';
