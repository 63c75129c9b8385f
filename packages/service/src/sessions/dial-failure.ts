import { CulvertError, type ErrorCode } from '@culvert/protocol';
import { type DialFailure, endsSession } from '@culvert/session';

/** Errors of a stream request or of a gateway, beside those of {@link endsSession}, after which no further stream can carry the session. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'forbidden',
  'device_not_found',
  'module_not_found',
  'device_disabled',
  'untrusted',
  'config_invalid',
  'argument_invalid',
]);

/** Milliseconds to wait after a limit of the hub was reached. */
const LIMITED_MS = 5_000;

/**
 * What a session does after a link could not be opened (docs/protocol/10-session.md): most errors pass, since devices, hubs and networks come back.
 * @param refusals how often in a row the hub has refused the credential; a token may have expired meanwhile, so the first refusal is not final
 */
export function dialFailure(error: unknown, refusals: number): DialFailure {
  const reason = CulvertError.from(error);
  const isRefused = reason.code === 'unauthorized' && refusals > 1;
  const isFinal: boolean = endsSession(reason) || isRefused;
  if (isFinal || FINAL.has(reason.code)) return { end: { reason: 'closed', text: reason.message, byPeer: false } };
  if (reason.code === 'too_many_requests') return { waitMs: LIMITED_MS };
  // The hub has kept the request until the device would come.
  return reason.code === 'device_offline' ? { hasWaited: true } : {};
}
