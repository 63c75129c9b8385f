export { type Agent, type AgentOptions, type AgentServices, CLOSE_GRACE_MS, MAX_STREAMS, startAgent } from './agent.ts';
export type { AgentAddress, AgentClient, CreateClient } from './agent-connection.ts';
export type { AgentEvent, Target } from './agent-events.ts';
export { ECHO_SERVICE } from './answer-offer.ts';
export { SERVICES_SERVICE, type ServiceReport, type ServiceState } from './service-report.ts';
