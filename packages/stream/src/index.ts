export { Backoff, type BackoffOptions } from './backoff.ts';
export type { ClientCertificate } from './client-certificate.ts';
export { type Clock, systemClock, type Timer } from './clock.ts';
export { ConnectionAhead, type Server, serverOf } from './connection-ahead.ts';
export {
  abortReason,
  type Deadline,
  deadline,
  delay,
  type LinkedSignal,
  linkSignals,
} from './deadline.ts';
export {
  type DialOptions,
  type DialStreamOptions,
  dialDuplex,
  dialStream,
  dialStreamWebSocket,
  dialWebSocket,
} from './dial.ts';
export { fileProblem } from './file-problem.ts';
export { Flow } from './flow.ts';
export { networkError } from './network-error.ts';
export { type OutboundOptions, outboundAgent, outboundProxy } from './outbound.ts';
export { type SpliceOptions, type SpliceResult, splice } from './splice.ts';
export { type WebSocketDuplexOptions, webSocketDuplex } from './websocket-duplex.ts';
