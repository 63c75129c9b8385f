/**
 * One error class, one closed list of codes, one row per code. Thrown anywhere, mapped at each edge from this table and
 * nowhere else: HTTP (and the preview's own numbers inside its error bodies), MQTT, AMQP, WebSocket close codes, process exit codes.
 * docs/protocol/08-errors.md is compared with it by a test.
 */
export interface ErrorRow {
  /** What went wrong, for a person; the thrower may give a more telling sentence instead. */
  readonly text: string;
  /** HTTP status of a REST answer or a refused upgrade. */
  readonly http: number;
  /** The preview's six-digit code and its name (docs: troubleshoot-error-codes); the name is sent as `iothub-errorcode`. */
  readonly azure: readonly [code: number, name: string];
  /** MQTT 3.1.1 CONNACK return code, §3.2.2.3 of that specification. */
  readonly connack: 1 | 2 | 3 | 4 | 5;
  /** MQTT 5 reason code, §2.4, for CONNACK and DISCONNECT. */
  readonly mqtt5: number;
  /** AMQP 1.0 error condition (§2.8.15 to §2.8.18; `com.microsoft:` as the preview's service uses them), for DETACH, CLOSE and dispositions. */
  readonly amqp: string;
  /** WebSocket close code (RFC 6455 §7.4; 4000 and above are ours). Never absent: a close frame always bears a code. */
  readonly close: number;
  /** Exit code of `culvert`. */
  readonly exit: number;
  /** Whether the same request may succeed when made again without changing it. */
  readonly retryable: boolean;
}

const row = (
  text: string,
  http: number,
  azure: readonly [number, string],
  control: readonly [connack: ErrorRow['connack'], mqtt5: number, amqp: string],
  close: number,
  exit: number,
  retryable = false,
): ErrorRow => ({
  text,
  http,
  azure,
  connack: control[0],
  mqtt5: control[1],
  amqp: control[2],
  close,
  exit,
  retryable,
});

/** Every code. A key of this table is the `code` of a {@link CulvertError}. */
export const ERRORS = {
  // What a caller got wrong.
  argument_invalid: row(
    'The request is malformed.',
    400,
    [400004, 'ArgumentInvalid'],
    [2, 0x82, 'amqp:invalid-field'],
    4400,
    2,
  ),
  usage: row(
    'The command line is malformed.',
    400,
    [400004, 'ArgumentInvalid'],
    [2, 0x83, 'amqp:invalid-field'],
    4400,
    2,
  ),
  config_invalid: row(
    'The configuration is invalid.',
    500,
    [500001, 'ServerError'],
    [3, 0x83, 'amqp:internal-error'],
    1011,
    78,
  ),
  protocol_error: row(
    'The peer broke the protocol.',
    400,
    [400004, 'ArgumentInvalid'],
    [2, 0x82, 'amqp:decode-error'],
    1002,
    1,
  ),
  protocol_unsupported: row(
    'This protocol version is not supported.',
    400,
    [400001, 'InvalidProtocolVersion'],
    [1, 0x84, 'amqp:not-implemented'],
    1002,
    1,
  ),
  too_large: row(
    'The message is too large.',
    413,
    [413001, 'MessageTooLarge'],
    [3, 0x95, 'amqp:link:message-size-exceeded'],
    1009,
    1,
  ),
  qos_unsupported: row(
    'QoS 2 is not supported.',
    400,
    [400003, 'InvalidOperation'],
    [3, 0x9b, 'amqp:not-implemented'],
    1002,
    1,
  ),
  route_not_found: row(
    'There is nothing at this address.',
    404,
    [404000, 'NotFound'],
    [2, 0x90, 'amqp:not-found'],
    4404,
    3,
  ),
  not_supported: row(
    'This hub carries streams only: no telemetry, twins, methods, jobs or file uploads.',
    501,
    [404013, 'FeatureNotSupported'],
    [5, 0x83, 'amqp:not-implemented'],
    4400,
    1,
  ),
  // Credentials.
  unauthorized: row(
    'The credential was not accepted.',
    401,
    [401002, 'IotHubUnauthorizedAccess'],
    [5, 0x87, 'amqp:unauthorized-access'],
    4401,
    4,
  ),
  token_expired: row(
    'The token has expired.',
    401,
    [401003, 'IotHubUnauthorized'],
    [5, 0x87, 'amqp:unauthorized-access'],
    4401,
    4,
  ),
  forbidden: row(
    'The credential does not permit this.',
    401,
    [401002, 'IotHubUnauthorizedAccess'],
    [5, 0x87, 'amqp:unauthorized-access'],
    4401,
    4,
  ),
  grant_invalid: row(
    'The grant was not accepted.',
    401,
    [401002, 'IotHubUnauthorizedAccess'],
    [5, 0x87, 'amqp:unauthorized-access'],
    4401,
    4,
  ),
  revoked: row('Access was revoked.', 403, [403012, 'DeviceDisabled'], [5, 0x98, 'amqp:unauthorized-access'], 4403, 4),
  // Devices and the registry.
  device_not_found: row(
    'The device is not registered.',
    404,
    [404001, 'DeviceNotFound'],
    [5, 0x87, 'amqp:not-found'],
    4404,
    3,
  ),
  device_exists: row(
    'A device with this id is already registered.',
    409,
    [409001, 'DeviceAlreadyExists'],
    [5, 0x87, 'amqp:not-allowed'],
    4409,
    1,
  ),
  module_not_found: row(
    'The device has no such module.',
    404,
    [404010, 'ModuleNotFound'],
    [5, 0x87, 'amqp:not-found'],
    4404,
    3,
  ),
  module_exists: row(
    'The device already has a module with this id.',
    409,
    [409301, 'ModuleAlreadyExistsOnDevice'],
    [5, 0x87, 'amqp:not-allowed'],
    4409,
    1,
  ),
  limit_reached: row(
    'No more of these are allowed.',
    403,
    [403002, 'IotHubQuotaExceeded'],
    [5, 0x97, 'amqp:resource-limit-exceeded'],
    4403,
    1,
  ),
  authority_not_found: row(
    'There is no such certificate authority.',
    404,
    [404000, 'NotFound'],
    [5, 0x87, 'amqp:not-found'],
    4404,
    3,
  ),
  device_disabled: row(
    'The device is disabled.',
    403,
    [403012, 'DeviceDisabled'],
    [5, 0x87, 'amqp:unauthorized-access'],
    4403,
    4,
  ),
  policy_not_found: row('There is no such policy.', 404, [404000, 'NotFound'], [5, 0x87, 'amqp:not-found'], 4404, 3),
  precondition_failed: row(
    'The ETag does not match: it was changed meanwhile.',
    412,
    [412001, 'PreconditionFailed'],
    [5, 0x87, 'amqp:precondition-failed'],
    4412,
    1,
  ),
  // The handshake.
  device_offline: row(
    "The requested device isn't online.",
    404,
    [404103, 'DeviceNotOnline'],
    [3, 0x88, 'amqp:not-found'],
    4404,
    69,
    true,
  ),
  device_gone: row(
    'The device disconnected while it was being asked.',
    404,
    [404104, 'DeviceConnectionClosedRemotely'],
    [3, 0x88, 'amqp:not-found'],
    4404,
    69,
    true,
  ),
  device_silent: row(
    'Timed out waiting for the response from device.',
    504,
    [504101, 'GatewayTimeout'],
    [3, 0x88, 'com.microsoft:timeout'],
    4408,
    5,
    true,
  ),
  rejected: row(
    'The device rejected the stream.',
    403,
    [403010, 'OperationNotAvailableInCurrentTier'],
    [5, 0x87, 'amqp:not-allowed'],
    4406,
    6,
  ),
  handshake_timeout: row(
    'The other side did not come in time.',
    504,
    [504101, 'GatewayTimeout'],
    [3, 0x88, 'com.microsoft:timeout'],
    4408,
    5,
    true,
  ),
  withdrawn: row(
    'The caller went away before the stream was joined.',
    410,
    [404104, 'DeviceConnectionClosedRemotely'],
    [3, 0x88, 'amqp:not-found'],
    4410,
    1,
  ),
  aborted: row('Cancelled.', 499, [404104, 'DeviceConnectionClosedRemotely'], [3, 0x88, 'amqp:not-found'], 4410, 130),
  too_many_requests: row(
    'Too many requests at once.',
    429,
    [429001, 'ThrottlingException'],
    [3, 0x89, 'amqp:resource-limit-exceeded'],
    4429,
    69,
    true,
  ),
  // Streams and connections.
  stream_lost: row(
    'WS disconnected',
    502,
    [503102, 'DeviceUnavailable'],
    [3, 0x88, 'amqp:connection:forced'],
    1011,
    69,
    true,
  ),
  stalled: row(
    'No progress was made for too long.',
    504,
    [504101, 'GatewayTimeout'],
    [3, 0x8d, 'com.microsoft:timeout'],
    4411,
    69,
    true,
  ),
  taken_over: row(
    'A newer connection of the same device took over.',
    400,
    [400027, 'ConnectionForcefullyClosedOnNewConnection'],
    [3, 0x8e, 'amqp:link:stolen'],
    4409,
    1,
  ),
  keepalive_timeout: row(
    'Nothing was heard within one and a half of the keepalive.',
    408,
    [404104, 'DeviceConnectionClosedRemotely'],
    [3, 0x8d, 'com.microsoft:timeout'],
    4408,
    69,
    true,
  ),
  draining: row(
    'The hub is shutting down; try again.',
    503,
    [503001, 'ServiceUnavailable'],
    [3, 0x8b, 'amqp:connection:forced'],
    1012,
    69,
    true,
  ),
  unreachable: row(
    'The hub could not be reached.',
    502,
    [503102, 'DeviceUnavailable'],
    [3, 0x88, 'amqp:internal-error'],
    1011,
    69,
    true,
  ),
  untrusted: row(
    "The hub's certificate is not trusted.",
    502,
    [503102, 'DeviceUnavailable'],
    [3, 0x88, 'amqp:internal-error'],
    1011,
    69,
  ),
  target_unreachable: row(
    'The local service could not be reached.',
    502,
    [503102, 'DeviceUnavailable'],
    [3, 0x88, 'amqp:internal-error'],
    4406,
    69,
    true,
  ),
  internal: row(
    'Something went wrong inside; the log says what.',
    500,
    [500001, 'ServerError'],
    [3, 0x80, 'amqp:internal-error'],
    1011,
    1,
    true,
  ),
} as const satisfies Record<string, ErrorRow>;

/** The closed list of error codes. */
export type ErrorCode = keyof typeof ERRORS;
