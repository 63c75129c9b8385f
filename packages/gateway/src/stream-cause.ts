import type { CloseCause, ErrorCode } from '@culvert/protocol';

/** The cause the events tell for a stream that was ended, or never came about, by an error of `code`. */
export function causeOf(code: ErrorCode): CloseCause {
  switch (code) {
    case 'draining':
      return 'shutting_down';
    case 'target_unreachable':
      return 'rejected';
    case 'aborted':
      return 'withdrawn';
    case 'device_gone':
      return 'lost_by_device';
    case 'idle_timeout':
      return 'idle';
    case 'unauthorized':
    case 'token_expired':
    case 'forbidden':
    case 'device_disabled':
    case 'revoked':
      return 'revoked';
    case 'rejected':
    case 'withdrawn':
    case 'handshake_timeout':
    case 'device_offline':
    case 'device_silent':
    case 'stalled':
    case 'half_close_timeout':
    case 'protocol_error':
    case 'lifetime_ended':
    case 'quota_reached':
    case 'closed_by_administrator':
      return code;
    default:
      return 'refused';
  }
}
