/** Names that Azure IoT Hub device streams (preview) uses over AMQP 1.0 (docs/protocol/09-control-channel-amqp.md). */

/** WebSocket subprotocols for AMQP: the name that Azure's clients use, then the registered name (RFC 6455 registry; AMQP WebSocket binding §2.1). */
export const AMQP_SUBPROTOCOLS: readonly string[] = ['AMQPWSB10', 'amqp'];

/** The AMQP node for claims-based security (CBS): clients send their tokens to this node. */
export const CBS_NODE = '$cbs';

/** Link property with the same value (`streams:{uuid}`) on both links of a device, which identifies them as a pair. */
export const CHANNEL_CORRELATION = 'com.microsoft:channel-correlation-id';

/** Link property that contains the client's software name. */
export const CLIENT_VERSION = 'com.microsoft:client-version';

/** Application properties of a stream request and its answer. The Culvert extensions of a request are in `OFFER_PROPERTIES`. */
export const STREAM_PROPERTIES = {
  name: 'IoThub-streaming-name',
  url: 'IoThub-streaming-url',
  token: 'IoThub-streaming-auth-token',
  /** In the answer: a boolean. */
  isAccepted: 'IoThub-streaming-is-accepted',
  /** In the answer, a Culvert extension: the reason why the device rejected the request. */
  rejectReason: 'culvert-reject-reason',
  /** In the answer, a Culvert extension: the session that the device chose. */
  session: 'culvert-session',
} as const;

/** Application properties of a CBS request and of its answer (AMQP CBS 1.0 §3.2). */
export const CBS_PROPERTIES = {
  operation: 'operation',
  type: 'type',
  name: 'name',
  statusCode: 'status-code',
  statusDescription: 'status-description',
} as const;

/** The only CBS operation that is supported. */
export const PUT_TOKEN = 'put-token';

/** The token types that stand for a SAS token in a put-token request: the C and Node clients send the first, the C# clients the second. */
export const SAS_TOKEN_TYPES = ['servicebus.windows.net:sastoken', 'azure-devices.net:sastoken'] as const;
