import { CulvertError } from '@culvert/protocol';
import rhea, { type Delivery, type Message, type Receiver, type Sender } from 'rhea';
import { amqpError } from './amqp-error.ts';
import { echoedId } from './amqp-messages.ts';

/** What is needed to answer a request for a twin. */
export interface TwinCarrier {
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer, tag?: Buffer): void;
}

/** Tells the sender of telemetry, or of the result of a method that was not called, that there is no such thing here. */
export function refuseMessage(delivery: Delivery): void {
  delivery.reject(amqpError(new CulvertError('not_supported')));
}

/**
 * Answers a request for a twin that there are none, as a failure that the preview's clients understand: on the link on which the twin's answers
 * are received, with the request's correlation id, the annotation `status`, and a sentence in JSON. Where there is no such link, or nothing
 * can be sent on it, the request is rejected; one that was sent settled cannot be, and costs its link.
 */
export function refuseTwinRequest(
  request: { receiver: Receiver; message: Message | Buffer; delivery: Delivery },
  answersTo: readonly Sender[],
  carrier: TwinCarrier,
): void {
  const { receiver, message, delivery } = request;
  const error = new CulvertError('not_supported');
  const link = answersTo.find((each) => carrier.canSend(each));
  if (link !== undefined && !Buffer.isBuffer(message)) {
    delivery.accept();
    carrier.send(link, encodeTwinAnswer(message, error));
  } else if (delivery.remote_settled) receiver.close(amqpError(error));
  else delivery.reject(amqpError(error));
}

function encodeTwinAnswer(request: Message, { row, message }: CulvertError): Buffer {
  return rhea.message.encode({
    correlation_id: echoedId(request.correlation_id),
    // C# reads nothing but the AMQP type int.
    message_annotations: { status: rhea.types.wrap_int(row.http) },
    body: rhea.message.data_section(Buffer.from(JSON.stringify(message))),
  });
}
