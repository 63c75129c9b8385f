import {
  ANNOUNCEMENT_PROPERTY,
  CulvertError,
  MAX_ANNOUNCEMENT_BYTES,
  SESSION_REPORT_LIMITS,
  SESSION_REPORT_SUBJECT,
} from '@culvert/protocol';
import type { Delivery, Message } from 'rhea';
import type { ControlDeps } from '../control-channel.ts';
import type { AmqpChannel } from './amqp-channel.ts';
import { amqpError } from './amqp-error.ts';
import { bodyText } from './amqp-messages.ts';
import { readAnswer } from './amqp-offer.ts';

/** Handles and settles a device's message on its streams link: by its subject an announcement or a report, otherwise the answer to an offer. */
export function receiveStreamMessage(
  channel: AmqpChannel,
  message: Message | Buffer,
  delivery: Delivery,
  { onSessionReport }: Pick<ControlDeps, 'onSessionReport'>,
): void {
  if (!Buffer.isBuffer(message) && message.subject === ANNOUNCEMENT_PROPERTY) {
    delivery.accept();
    channel.announced(bodyText(message, MAX_ANNOUNCEMENT_BYTES));
  } else if (!Buffer.isBuffer(message) && message.subject === SESSION_REPORT_SUBJECT) {
    delivery.accept();
    onSessionReport?.(channel.identity, bodyText(message, SESSION_REPORT_LIMITS.bytes) ?? '');
  } else receiveAnswer(channel, message, delivery);
}

function receiveAnswer(channel: AmqpChannel, message: Message | Buffer, delivery: Delivery): void {
  const read = Buffer.isBuffer(message) ? undefined : readAnswer(message);
  if (read === undefined) {
    delivery.reject(
      amqpError(new CulvertError('argument_invalid', 'The message is not an answer to a stream request.')),
    );
    return;
  }
  delivery.accept();
  channel.answered(read.key, read.answer);
}
