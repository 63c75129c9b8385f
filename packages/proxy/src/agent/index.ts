export { type Agent, type AgentClient, type AgentOptions, CLOSE_GRACE_MS, MAX_STREAMS, startAgent } from './agent.ts';
export { ECHO_SERVICE } from './answer-offer.ts';
export type { AgentEvent, Target } from './events.ts';
export { SERVICES_SERVICE, type ServiceReport, type ServiceState } from './service-report.ts';
