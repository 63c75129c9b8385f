/**
 * The closed list of reasons why a stream ended, as used in the hub's events, logs, audit and metrics. The close frames sent to both ends
 * express the same cause by their code and text (docs/protocol/05-streaming-endpoint.md). Each value is a sentence for people.
 */
export const CLOSE_CAUSES = {
  ended_by_service: 'The service ended it.',
  ended_by_device: 'The device ended it.',
  lost_by_service: 'The connection of the service was lost.',
  lost_by_device: 'The connection of the device was lost.',
  protocol_error: 'A side broke the protocol.',
  stalled: 'A side took nothing for too long.',
  half_close_timeout: 'One side had ended, and nothing came from the other for longer than the limit.',
  idle: 'Nothing was sent for longer than the limit.',
  lifetime_ended: 'It had lived as long as the limit allows.',
  quota_reached: 'It had carried as much as the limit allows.',
  closed_by_administrator: 'An administrator closed it.',
  taken_over: 'A newer stream of the same session took its place.',
  revoked: 'What it stood on was taken away: a key, a certificate, a device.',
  shutting_down: 'The hub was stopped.',
  hub_died: 'The hub ended without a word: it was killed, it crashed, or its machine lost power.',
  gateway_failed: 'The part of the gateway that carried it failed.',
  rejected: 'The device rejected it.',
  withdrawn: 'The caller went away before the sides were joined.',
  device_offline: 'The device was not there.',
  device_silent: 'The device did not answer in time.',
  handshake_timeout: 'A side did not come in time.',
  refused: 'The hub refused it.',
} as const;

export type CloseCause = keyof typeof CLOSE_CAUSES;
