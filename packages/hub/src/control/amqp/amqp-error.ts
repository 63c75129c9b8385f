import { type CulvertError, cutUtf8, LIMITS } from '@culvert/protocol';

/** An error in the form of AMQP's DETACH, CLOSE and rejected deliveries (AMQP 1.0 §2.8.14). The message is cut to the length used for MQTT. */
export function amqpError(error: CulvertError): { condition: string; description: string } {
  return { condition: error.row.amqp, description: cutUtf8(error.message, LIMITS.rejectReasonBytes) };
}
