export type { GatewayEvent } from './events.ts';
