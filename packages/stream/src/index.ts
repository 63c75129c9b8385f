export { Backoff, type BackoffOptions } from './backoff.ts';
export type { ClientCertificate } from './client-certificate.ts';
export { type Clock, inBackground, systemClock, type Timer } from './clock.ts';
export { ConnectionAhead, type Server, serverOf } from './connection-ahead.ts';
export {
  abortReason,
  type Deadline,
  deadline,
  delay,
  type LinkedSignal,
  linkSignals,
} from './deadline.ts';
export { destroyConnection, resetConnection } from './destroy-connection.ts';
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
export { assertGateway, assertGatewayPatterns, type KnownHub, verifiedCertificate } from './gateway-check.ts';
export { HalfCloseTimer, type HalfCloseTimerOptions } from './half-close-timer.ts';
export { AGENT_KEEP_ALIVE, KEEP_ALIVE, type SocketUse, stateKeepAlive } from './keep-alive.ts';
export { networkError, networkFault } from './network-error.ts';
export { OPEN_MS } from './opening.ts';
export { type OutboundAgentOptions, type OutboundOptions, outboundAgent, outboundProxy } from './outbound.ts';
export { type SpliceOptions, type SpliceResult, splice } from './splice.ts';
export { type WebSocketDuplexOptions, webSocketDuplex } from './websocket-duplex.ts';
