import { CBS_PROPERTIES, CulvertError, LIMITS, PUT_TOKEN, SAS_TOKEN_TYPES } from '@culvert/protocol';
import rhea, { type Delivery, type Message, type Receiver, type Sender } from 'rhea';
import { AMQP_LIMITS } from '../amqp-validator/amqp-limits.ts';
import { type Audience, parseAudience } from './amqp-addresses.ts';
import { amqpError } from './amqp-error.ts';
import { bodyText, echoedId } from './amqp-messages.ts';

/** The parts of a connection that its CBS node uses. */
export interface CbsCarrier {
  canSend(link: Sender): boolean;
  send(link: Sender, message: Buffer, tag?: Buffer): void;
  /** Verifies a token and admits its audience to the connection. @throws CulvertError */
  admit(audience: Audience, token: string): Promise<unknown>;
  /** A request for this audience was refused because it contains no token that can be verified. */
  refused(error: CulvertError, audience: Audience): void;
  /** Pauses reading until the returned function is called. */
  hold(): () => void;
  /** Ends the connection. */
  end(error: CulvertError): void;
}

/** The reply to one request. */
interface Reply {
  readonly request: Message;
  readonly session: Receiver['session'];
  readonly error: CulvertError | undefined;
}

/**
 * The node `$cbs` of one connection: has tokens verified (AMQP CBS 1.0) and replies with the result. A later token for the same audience renews the
 * credential. A reply is sent on a link of the request's session, or on another link if that session has none with credit.
 */
export class CbsNode {
  readonly #carrier: CbsCarrier;
  /** Links on which the peer receives. */
  readonly #links = new Set<Sender>();
  /** Tokens being verified. */
  #verifying = 0;
  /** Resumes reading; set while reading is paused because too many tokens are being verified. */
  #resumeReading: (() => void) | undefined;
  /** Replies that wait for a link with credit. */
  readonly #replies: Reply[] = [];

  constructor(carrier: CbsCarrier) {
    this.#carrier = carrier;
  }

  linkOpened(link: Sender | Receiver): void {
    if (link.is_sender()) this.#links.add(link as Sender);
  }

  linkClosed(link: Sender | Receiver): void {
    if (link.is_sender()) this.#links.delete(link as Sender);
  }

  message(receiver: Receiver, message: Message | Buffer, delivery: Delivery): void {
    if (Buffer.isBuffer(message)) {
      delivery.reject(amqpError(new CulvertError('argument_invalid', 'The delivery is not an AMQP message.')));
      return;
    }
    if (this.#replies.length >= AMQP_LIMITS.unansweredTokens) {
      this.#carrier.end(
        new CulvertError('too_many_requests', 'Too many replies to tokens wait for a link with credit.'),
      );
      return;
    }
    delivery.accept();
    this.#verifying++;
    if (this.#verifying >= AMQP_LIMITS.tokensAtOnce) this.#resumeReading ??= this.#carrier.hold();
    void this.#put(message).then((error) => {
      this.#verifying--;
      this.#replies.push({ request: message, session: receiver.session, error });
      this.flush();
      this.#resumeReading?.();
      this.#resumeReading = undefined;
    });
  }

  /** Sends the waiting replies for which there is credit. */
  flush(): void {
    for (let left = this.#replies.length; left > 0; left--) {
      const reply = this.#replies.shift() as Reply;
      const link = this.#linkFor(reply);
      if (link === undefined) this.#replies.push(reply);
      else this.#carrier.send(link, encodeReply(reply));
    }
  }

  #linkFor({ session }: Reply): Sender | undefined {
    const withCredit = [...this.#links].filter((link) => this.#carrier.canSend(link));
    return withCredit.find((link) => link.session === session) ?? withCredit[0];
  }

  /** Resolves with the error if the token is refused. */
  async #put(message: Message): Promise<CulvertError | undefined> {
    try {
      await this.#carrier.admit(...this.#read(message));
      return undefined;
    } catch (reason) {
      return CulvertError.from(reason);
    }
  }

  /** @throws CulvertError `argument_invalid`, `unauthorized` */
  #read(message: Message): [audience: Audience, token: string] {
    let audience: Audience | undefined;
    try {
      audience = readAudience(message);
      return [audience, readToken(message)];
    } catch (reason) {
      const error = CulvertError.from(reason);
      if (audience !== undefined) this.#carrier.refused(error, audience);
      throw error;
    }
  }
}

/** The audience of a token. It is read first, so that a refusal can name it. @throws CulvertError `argument_invalid` */
function readAudience(message: Message): Audience {
  const name: unknown = message.application_properties?.[CBS_PROPERTIES.name];
  if (typeof name !== 'string')
    throw new CulvertError('argument_invalid', 'The request does not name the audience of its token.');
  return parseAudience(name);
}

/** @throws CulvertError `argument_invalid`, `unauthorized` */
function readToken(message: Message): string {
  const { [CBS_PROPERTIES.operation]: operation, [CBS_PROPERTIES.type]: type } = message.application_properties ?? {};
  if (operation !== PUT_TOKEN) throw new CulvertError('argument_invalid', `The operation is not ${PUT_TOKEN}.`);
  if (!SAS_TOKEN_TYPES.some((known) => known === type))
    throw new CulvertError('argument_invalid', `The token is not of type ${SAS_TOKEN_TYPES.join(' or ')}.`);
  const token = bodyText(message, LIMITS.sasTokenBytes);
  if (token === undefined) throw new CulvertError('unauthorized', 'The body is not a SAS token.');
  return token;
}

function encodeReply({ request, error }: Reply): Buffer {
  return rhea.message.encode({
    correlation_id: echoedId(request.message_id),
    application_properties: {
      // Clients accept only the AMQP type int here.
      [CBS_PROPERTIES.statusCode]: rhea.types.wrap_int(error?.row.http ?? 200),
      [CBS_PROPERTIES.statusDescription]: error === undefined ? 'OK' : amqpError(error).description,
    },
  });
}
