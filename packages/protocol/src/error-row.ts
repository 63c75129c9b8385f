/** One error code in the terms of every protocol. */
export interface ErrorRow {
  /** What went wrong, for people; the thrower may give a more specific sentence. */
  readonly text: string;
  /** HTTP status of a REST response or a refused upgrade. */
  readonly http: number;
  /** Azure's six-digit code and its name (docs: troubleshoot-error-codes); the name is sent as `iothub-errorcode`. */
  readonly azure: readonly [code: number, name: string];
  /** MQTT 3.1.1 CONNACK return code, §3.2.2.3 of that specification. */
  readonly connack: 1 | 2 | 3 | 4 | 5;
  /** MQTT 5 reason code, §2.4, for CONNACK and DISCONNECT. */
  readonly mqtt5: number;
  /** AMQP 1.0 error condition (§2.8.15 to §2.8.18; `com.microsoft:` as Azure's service uses them), for DETACH, CLOSE and dispositions. */
  readonly amqp: string;
  /** WebSocket close code (RFC 6455 §7.4; 4000 and above are Culvert's own). Always present: a close frame always has a code. */
  readonly close: number;
  /** Exit code of `culvert`. */
  readonly exit: number;
  /** Whether a retry of the same request may succeed. */
  readonly retryable: boolean;
}

/** One row, in the order of the columns of docs/protocol/08-errors.md. */
export const row = (
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
