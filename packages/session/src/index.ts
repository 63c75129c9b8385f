export { ConnectionDuplex, type ConnectionReceiver, connectionError } from './connection-duplex.ts';
export { ConnectionReports, type ConnectionReportsOptions, REPORT_MS } from './connection-reports.ts';
export * from './core/index.ts';
export { type LinkFailure, linkOverDuplex } from './duplex-link.ts';
export { endsSession } from './ending-errors.ts';
export { keyRefusal } from './key-refusal.ts';
export { nodeEnvironment } from './node-environment.ts';
export { ProcessHold } from './process-hold.ts';
export { type RelayEnd, SocketRelay } from './socket-relay.ts';
