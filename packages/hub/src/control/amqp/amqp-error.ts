import { type CulvertError, cutUtf8, LIMITS } from '@culvert/protocol';

/** An error as AMQP tells it in DETACH, CLOSE and rejected deliveries (AMQP 1.0 §2.8.14); the sentence is cut as MQTT's are. */
export function amqpError(error: CulvertError): { condition: string; description: string } {
  return { condition: error.row.amqp, description: cutUtf8(error.message, LIMITS.rejectReasonBytes) };
}
