/**
 * Why a stream ended: the closed list that the hub's events, logs and audit use. Both ends learn the same from the close code
 * and text (docs/protocol/05-streaming-endpoint.md).
 */
export const CLOSE_CAUSES = [
  'ended_by_service',
  'ended_by_device',
  'lost_by_service',
  'lost_by_device',
  'protocol_error',
  'stalled',
  'revoked',
  'shutting_down',
  'handshake_timeout',
  'withdrawn',
  'rejected',
] as const;

export type CloseCause = (typeof CLOSE_CAUSES)[number];
