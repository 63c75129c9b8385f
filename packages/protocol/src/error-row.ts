/** What one error code is in each protocol. */
export interface ErrorRow {
  /** The default message, for people; the code that throws the error may give a more specific one. */
  readonly text: string;
  /** HTTP status of a REST response or a refused upgrade. */
  readonly http: number;
  /** Azure's six-digit code and its name (Azure's page troubleshoot-error-codes); the name is sent in the header `iothub-errorcode`. */
  readonly azure: readonly [code: number, name: string];
  /** CONNACK return code of MQTT 3.1.1 (§3.2.2.3). */
  readonly connack: 1 | 2 | 3 | 4 | 5;
  /** Reason code of MQTT 5 (§2.4), for CONNACK and DISCONNECT. */
  readonly mqtt5: number;
  /** AMQP 1.0 error condition for DETACH, CLOSE and dispositions (§2.8.15 to §2.8.18; those with `com.microsoft:` are Azure's). */
  readonly amqp: string;
  /** WebSocket close code (RFC 6455 §7.4); codes from 4000 on are Culvert's own. Always present: every close frame sent has a code. */
  readonly close: number;
  /** Exit code of the program `culvert`. */
  readonly exit: number;
  /** Whether a retry of the same request may succeed. */
  readonly retryable: boolean;
}

/** Makes one row. The parameters have the order of the columns in docs/protocol/08-errors.md. */
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
