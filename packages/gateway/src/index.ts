export { Gateway, type GatewayOptions } from './gateway.ts';
export type { GatewayControl } from './gateway-control.ts';
export type { DirectionCounters, GatewayEvent, StreamCounters } from './gateway-events.ts';
export { GATEWAY_LIMITS, type GatewayLimits } from './gateway-limits.ts';
export { GatewayThread, type ThreadListener } from './threads/gateway-thread.ts';
export { GatewayThreads, type GatewayThreadsOptions } from './threads/gateway-threads.ts';
export type { ThreadAddress, ThreadListenerStart, ThreadPair, ThreadStart } from './threads/messages.ts';
