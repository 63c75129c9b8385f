export type { DirectionCounters, GatewayEvent, StreamCounters } from './events.ts';
export { Gateway, type GatewayOptions } from './gateway.ts';
export { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts';
export { causeOf } from './stream-cause.ts';
