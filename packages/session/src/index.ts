export { ConnectionDuplex, connectionError } from './connection-duplex.ts';
export * from './core/index.ts';
export { type LinkFailure, linkOverDuplex } from './duplex-link.ts';
export { keyRefusal } from './key-refusal.ts';
export { nodeEnvironment } from './node-environment.ts';
export { type RelayEnd, SocketRelay } from './socket-relay.ts';
