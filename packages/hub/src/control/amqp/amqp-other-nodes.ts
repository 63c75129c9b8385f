import { CulvertError } from '@culvert/protocol';
import rhea, { type Delivery, type Message, type Sender } from 'rhea';
import { amqpError } from './amqp-error.ts';
import { echoedId } from './amqp-messages.ts';

/** Tells the sender of telemetry, or of the result of a method that was not called, that there is no such thing here. */
export function refuseMessage(delivery: Delivery): void {
  delivery.reject(amqpError(new CulvertError('not_supported')));
}

/** What is needed to answer requests for twins. */
export interface TwinCarrier {
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer): void;
}

/** The links on which a device receives its twin's answers now. */
type AnswerLinks = () => readonly Sender[];

/** Answers that wait for credit, over all devices of a connection: clients ask as soon as their link is attached, before they give any. */
const MAX_WAITING = 64;

/**
 * Answers each request for a twin that there are none, as a failure that Azure's clients understand: on the link on which the twin's answers
 * are received, with the request's correlation id, the annotation `status`, and a sentence in JSON. Where there is no such link, or too
 * many answers wait for credit, a request is rejected; one that was sent settled cannot be, and costs its link.
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

  /** Sends the answers that wait, as far as there is credit. */
  flush(): void {
    for (const waiting of this.#waiting.splice(0)) {
      const links = waiting.answerLinks();
      const link = links.find((each) => this.#carrier.canSend(each));
      if (link !== undefined) this.#carrier.send(link, waiting.answer);
      // Without a link there is nobody any more who would read it.
      else if (links.length > 0) this.#waiting.push(waiting);
    }
  }
}

function encodeTwinAnswer(request: Message, { row, message }: CulvertError): Buffer {
  return rhea.message.encode({
    correlation_id: echoedId(request.correlation_id),
    // C# reads nothing but the AMQP type int.
    message_annotations: { status: rhea.types.wrap_int(row.http) },
    body: rhea.message.data_section(Buffer.from(JSON.stringify(message))),
  });
}
