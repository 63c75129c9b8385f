import type { CloseCause } from './close-cause.ts';
import { ERRORS, type ErrorCode } from './error-table.ts';

/**
 * What each error code means when a stream ends with it: the cause that logs, audit and metrics record, and the error at the end that
 * receives its close code. Error codes that share a close code are received as the same error. A new error code without a row does
 * not compile.
 */
const CLOSES = {
  argument_invalid: ['refused', 'stream_lost'],
  usage: ['refused', 'stream_lost'],
  config_invalid: ['refused', 'stream_lost'],
  protocol_error: ['protocol_error', 'protocol_error'],
  protocol_unsupported: ['refused', 'protocol_error'],
  too_large: ['refused', 'too_large'],
  qos_unsupported: ['refused', 'protocol_error'],
  route_not_found: ['refused', 'stream_lost'],
  not_supported: ['refused', 'stream_lost'],
  unauthorized: ['revoked', 'stream_lost'],
  token_expired: ['revoked', 'stream_lost'],
  forbidden: ['revoked', 'stream_lost'],
  grant_invalid: ['refused', 'stream_lost'],
  revoked: ['revoked', 'revoked'],
  device_not_found: ['refused', 'stream_lost'],
  device_exists: ['refused', 'stream_lost'],
  module_not_found: ['refused', 'stream_lost'],
  module_exists: ['refused', 'stream_lost'],
  limit_reached: ['refused', 'revoked'],
  authority_not_found: ['refused', 'stream_lost'],
  device_disabled: ['revoked', 'revoked'],
  policy_not_found: ['refused', 'stream_lost'],
  precondition_failed: ['refused', 'stream_lost'],
  device_offline: ['device_offline', 'stream_lost'],
  device_gone: ['lost_by_device', 'stream_lost'],
  device_silent: ['device_silent', 'handshake_timeout'],
  rejected: ['rejected', 'rejected'],
  handshake_timeout: ['handshake_timeout', 'handshake_timeout'],
  withdrawn: ['withdrawn', 'withdrawn'],
  aborted: ['withdrawn', 'withdrawn'],
  too_many_requests: ['refused', 'stream_lost'],
  stream_lost: ['refused', 'stream_lost'],
  stalled: ['stalled', 'stalled'],
  half_close_timeout: ['half_close_timeout', 'half_close_timeout'],
  idle_timeout: ['idle', 'idle_timeout'],
  lifetime_ended: ['lifetime_ended', 'lifetime_ended'],
  quota_reached: ['quota_reached', 'quota_reached'],
  closed_by_administrator: ['closed_by_administrator', 'closed_by_administrator'],
  stream_not_found: ['refused', 'stream_lost'],
  taken_over: ['taken_over', 'stream_lost'],
  keepalive_timeout: ['refused', 'handshake_timeout'],
  draining: ['shutting_down', 'draining'],
  unreachable: ['refused', 'stream_lost'],
  untrusted: ['refused', 'stream_lost'],
  key_refused: ['rejected', 'key_refused'],
  key_changed: ['rejected', 'key_refused'],
  encryption_required: ['rejected', 'rejected'],
  target_unreachable: ['rejected', 'rejected'],
  internal: ['refused', 'stream_lost'],
} as const satisfies Record<ErrorCode, readonly [cause: CloseCause, receivedAs: ErrorCode]>;

/**
 * The error that corresponds to a close cause, for a stream whose record contains no error; undefined for clean ends. A new cause without a
 * row does not compile.
 */
export const CAUSE_ERRORS = {
  ended_by_service: undefined,
  ended_by_device: undefined,
  lost_by_service: 'stream_lost',
  lost_by_device: 'stream_lost',
  protocol_error: 'protocol_error',
  stalled: 'stalled',
  half_close_timeout: 'half_close_timeout',
  idle: 'idle_timeout',
  lifetime_ended: 'lifetime_ended',
  quota_reached: 'quota_reached',
  closed_by_administrator: 'closed_by_administrator',
  taken_over: 'taken_over',
  revoked: 'revoked',
  shutting_down: 'draining',
  hub_died: 'stream_lost',
  gateway_failed: 'stream_lost',
  rejected: 'rejected',
  withdrawn: 'withdrawn',
  device_offline: 'device_offline',
  device_silent: 'device_silent',
  handshake_timeout: 'handshake_timeout',
  refused: 'too_many_requests',
} as const satisfies Record<CloseCause, ErrorCode | undefined>;

/** The cause recorded for a stream that an error of `code` ended or prevented from being established. */
export function closeCauseFromError(code: ErrorCode): CloseCause {
  return CLOSES[code][0];
}

const BY_CLOSE_CODE: ReadonlyMap<number, ErrorCode> = new Map(
  (Object.keys(CLOSES) as ErrorCode[]).map((code) => [ERRORS[code].close, CLOSES[code][1]]),
);

/** The error at the end that receives a close code other than 1000; `stream_lost` for an unknown close code. */
export function errorCodeFromClose(closeCode: number): ErrorCode {
  return BY_CLOSE_CODE.get(closeCode) ?? 'stream_lost';
}
