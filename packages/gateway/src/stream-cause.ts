import type { CloseCause, ErrorCode } from '@culvert/protocol';

/** The cause the events tell for a stream that was ended from outside with an error of `code`. */
export function causeOf(code: ErrorCode): CloseCause {
  switch (code) {
    case 'draining':
      return 'shutting_down';
    case 'rejected':
    case 'target_unreachable':
      return 'rejected';
    case 'withdrawn':
    case 'aborted':
      return 'withdrawn';
    case 'handshake_timeout':
    case 'device_silent':
      return 'handshake_timeout';
    case 'device_gone':
    case 'device_offline':
      return 'lost_by_device';
    case 'stalled':
    case 'protocol_error':
      return code;
    default:
      return 'revoked';
  }
}
