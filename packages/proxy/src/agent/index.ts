export { type Agent, type AgentClient, type AgentOptions, CLOSE_GRACE_MS, MAX_STREAMS, startAgent } from './agent.ts';
export type { AgentEvent, Target } from './events.ts';
