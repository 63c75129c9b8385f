import { CulvertError } from '@culvert/protocol';
import rhea, { type Delivery, type Message, type Sender } from 'rhea';
import { amqpError } from './amqp-error.ts';
import { echoedId } from './amqp-messages.ts';

/** Rejects telemetry, or the result of a method that was not called, as not supported. */
export function refuseMessage(delivery: Delivery): void {
  delivery.reject(amqpError(new CulvertError('not_supported')));
}

/** The parts of a connection that its twin node uses. */
export interface TwinCarrier {
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer): void;
}

/** Returns the links on which a device currently receives answers about its twin. */
type AnswerLinks = () => readonly Sender[];

/** Maximum answers that wait for credit, over all devices of a connection: clients send a request once their link is attached, before they give credit. */
const MAX_WAITING = 64;

/**
 * Answers each request for a twin with a failure that Azure's clients understand, because the hub has no twins. The answer is sent on the link on
 * which the device receives answers about its twin; it has the request's correlation id, the annotation `status`, and an error text in JSON. A
 * request is rejected if there is no such link or too many answers wait for credit. A request that was sent settled cannot be rejected; its link is
 * closed instead.
 */
export class TwinNode {
  readonly #carrier: TwinCarrier;
  readonly #waiting: { readonly answerLinks: AnswerLinks; readonly answer: Buffer }[] = [];

  constructor(carrier: TwinCarrier) {
    this.#carrier = carrier;
  }

  message(message: Message | Buffer, delivery: Delivery, answerLinks: AnswerLinks): void {
    const error = new CulvertError('not_supported');
    const isAnswerable = answerLinks().length > 0 && this.#waiting.length < MAX_WAITING;
    if (isAnswerable && !Buffer.isBuffer(message)) {
      delivery.accept();
      this.#waiting.push({ answerLinks, answer: encodeTwinAnswer(message, error) });
      this.flush();
    } else if (delivery.remote_settled) delivery.link.close(amqpError(error));
    else delivery.reject(amqpError(error));
  }

  /** Sends the waiting answers for which there is credit. */
  flush(): void {
    for (const waiting of this.#waiting.splice(0)) {
      const links = waiting.answerLinks();
      const link = links.find((each) => this.#carrier.canSend(each));
      if (link !== undefined) this.#carrier.send(link, waiting.answer);
      // Without a link the answer is dropped, because the device could not receive it.
      else if (links.length > 0) this.#waiting.push(waiting);
    }
  }
}

function encodeTwinAnswer(request: Message, { row, message }: CulvertError): Buffer {
  return rhea.message.encode({
    correlation_id: echoedId(request.correlation_id),
    // The C# client accepts only the AMQP type int.
    message_annotations: { status: rhea.types.wrap_int(row.http) },
    body: rhea.message.data_section(Buffer.from(JSON.stringify(message))),
  });
}
