import { CulvertError, type ErrorCode } from '../errors.ts';
import { printable } from '../ids.ts';

/** The reason codes that MQTT 5 allows in a CONNACK (§3.2.2.2). A peer's parser refuses other codes. */
const CONNACK_CODES: ReadonlySet<number> = new Set([
  0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c,
  0x9d, 0x9f,
]);

/** The reason codes that MQTT 5 allows in a DISCONNECT (§3.14.2.1). */
const DISCONNECT_CODES: ReadonlySet<number> = new Set([
  0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
  0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
]);

/** The MQTT 5 reason code for a CONNACK that refuses with `error`: the code in the error's row if it is allowed in a CONNACK, else 0x87 or 0x88. */
export function connackReason(error: CulvertError): number {
  const { mqtt5, connack } = error.row;
  if (CONNACK_CODES.has(mqtt5)) return mqtt5;
  return connack === 5 ? 0x87 : 0x88;
}

/** The MQTT 5 reason code for a DISCONNECT with `error`: the code in the error's row if it is allowed in a DISCONNECT, else 0x80. */
export function disconnectReason(error: CulvertError): number {
  return DISCONNECT_CODES.has(error.row.mqtt5) ? error.row.mqtt5 : 0x80;
}

/** The errors for the return codes of a CONNACK (MQTT 3.1.1 §3.2.2.3). */
const BY_RETURN_CODE: Readonly<Record<number, ErrorCode>> = {
  1: 'protocol_unsupported',
  2: 'argument_invalid',
  3: 'unreachable',
  4: 'unauthorized',
  5: 'unauthorized',
};

const BY_REASON_CODE: Readonly<Record<number, ErrorCode>> = {
  129: 'protocol_error',
  130: 'protocol_error',
  132: 'protocol_unsupported',
  133: 'argument_invalid',
  134: 'unauthorized',
  135: 'unauthorized',
  136: 'unreachable',
  137: 'too_many_requests',
  138: 'unauthorized',
  139: 'draining',
  140: 'unauthorized',
  141: 'keepalive_timeout',
  142: 'taken_over',
  149: 'too_large',
  151: 'too_many_requests',
  152: 'revoked',
  155: 'qos_unsupported',
};

/** The device's error for a refusing CONNACK of MQTT 3.1.1. */
export function errorFromReturnCode(code: number): CulvertError {
  const known = BY_RETURN_CODE[code] ?? 'unreachable';
  return new CulvertError(known, `The hub refused the connection (MQTT return code ${code}).`);
}

/** The device's error for a refusing CONNACK or a DISCONNECT of MQTT 5; `reason` is the packet's reason string. */
export function errorFromReasonCode(code: number, reason: string | undefined): CulvertError {
  const known = BY_REASON_CODE[code] ?? 'unreachable';
  return new CulvertError(
    known,
    reason === undefined || reason === ''
      ? `The hub ended the connection (MQTT reason code 0x${code.toString(16)}).`
      : printable(reason),
  );
}
