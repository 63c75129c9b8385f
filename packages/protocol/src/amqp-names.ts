/** What the preview calls things over AMQP 1.0 (docs/protocol/09-control-channel-amqp.md). */

/** Subprotocols of AMQP over WebSocket: the preview's clients', and the registered one (RFC 6455 registry; AMQP WebSocket binding §2.1). */
export const AMQP_SUBPROTOCOLS: readonly string[] = ['AMQPWSB10', 'amqp'];

/** The node of claims-based security: where tokens are put. */
export const CBS_NODE = '$cbs';

/** Property of a link by which the two links of a pair name each other: `streams:{uuid}`. */
export const CHANNEL_CORRELATION = 'com.microsoft:channel-correlation-id';

/** Property of a link by which a client says what software it is. */
export const CLIENT_VERSION = 'com.microsoft:client-version';

/** Application properties of a stream request and of its answer; what is ours besides is in `offer.ts`. */
export const STREAM_PROPERTIES = {
  name: 'IoThub-streaming-name',
  url: 'IoThub-streaming-url',
  token: 'IoThub-streaming-auth-token',
  /** Answer: a boolean. */
  isAccepted: 'IoThub-streaming-is-accepted',
  /** Answer, ours: why the device rejected. */
  rejectReason: 'culvert-reject-reason',
} as const;

/** Application properties of a CBS request and of its answer (AMQP CBS 1.0 §3.2). */
export const CBS_PROPERTIES = {
  operation: 'operation',
  type: 'type',
  name: 'name',
  statusCode: 'status-code',
  statusDescription: 'status-description',
} as const;

/** The one operation of CBS here. */
export const PUT_TOKEN = 'put-token';

/** What clients call a SAS token in a put-token: the C and Node clients by the first name, the C# ones by the second. */
export const SAS_TOKEN_TYPES = ['servicebus.windows.net:sastoken', 'azure-devices.net:sastoken'] as const;
