export type { Principal } from './auth/principal.ts';
export {
  type HubConfig,
  type HubConfigInput,
  type HubFlags,
  parseHubConfig,
  resolveHubConfig,
} from './config/config.ts';
export { Hub, type HubOptions } from './hub.ts';
export type { EventSink, HubEvent } from './observe/events.ts';
export type {
  Authentication,
  AuthorityRecord,
  AuthorityStore,
  Expectation,
  IdentityRecord,
  PolicyRecord,
  Registry,
  RegistryListener,
} from './registry/registry.ts';
export { type HubProcess, runHub } from './run-hub.ts';
