import { randomUUID } from 'node:crypto';
import rhea, { type Connection, type Receiver, type Sender } from 'rhea';
import { nextEvent } from './amqp-connection.ts';
import type { ByteLink } from './byte-link.ts';

/** A client's two links to `$cbs`. */
export interface CbsLinks {
  readonly sender: Sender;
  readonly receiver: Receiver;
}

/** The header of a put-token message, besides the token. */
export interface PutTokenHeader {
  readonly messageId: number | string;
  readonly replyTo?: string;
  /** Application properties in addition to the three that AMQP CBS defines. */
  readonly properties: Readonly<Record<string, unknown>>;
}

/** The token type that the C# clients use, for devices and for services. */
export const CSHARP_TOKEN_TYPE = 'azure-devices.net:sastoken';

/** Attaches the CBS links as the C client does: in the connection's only session, with link names derived from `$cbs`. */
export async function openCCbs(link: ByteLink, connection: Connection): Promise<CbsLinks> {
  const sender = connection.open_sender({ name: '$cbs-sender', source: '$cbs', target: '$cbs' });
  const receiver = connection.open_receiver({ name: '$cbs-receiver', source: '$cbs', target: '$cbs' });
  await Promise.all([nextEvent(link, sender, 'sendable'), nextEvent(link, receiver, 'receiver_open')]);
  return { sender, receiver };
}

/**
 * Attaches the CBS links as Microsoft.Azure.Amqp does: in a separate session, with one name for both, all messages settled when sent,
 * and a new id as the address for the answers.
 */
export async function openCsharpCbs(link: ByteLink, connection: Connection): Promise<CbsLinks> {
  const session = connection.create_session();
  session.begin();
  const name = 'duplex1:1:2';
  const settled = { snd_settle_mode: 1 as const };
  const replyTo = randomUUID().replaceAll('-', '');
  const sender = session.open_sender({ ...settled, name: `${name}:sender`, source: {}, target: { address: '$cbs' } });
  const receiver = session.open_receiver({
    ...{ ...settled, name: `${name}:receiver`, credit_window: 50 },
    ...{ source: { address: '$cbs' }, target: { address: replyTo } },
  });
  await Promise.all([nextEvent(link, sender, 'sendable'), nextEvent(link, receiver, 'receiver_open')]);
  return { sender, receiver };
}

/** Returns the header that Microsoft.Azure.Amqp sends with its put-token number `count`, counted from 0. */
export function csharpPutToken(count: number, expiry: number): PutTokenHeader {
  return {
    messageId: `request${count + 1}`,
    replyTo: randomUUID().replaceAll('-', ''),
    properties: { expiration: rhea.types.wrap_timestamp(expiry * 1_000) },
  };
}

/** Puts a token. @throws Error when the hub does not answer with 200 */
export async function putToken(
  link: ByteLink,
  { sender, receiver }: CbsLinks,
  { messageId, replyTo, properties, ...put }: PutTokenHeader & { audience: string; type: string; token: string },
): Promise<void> {
  const reply = nextEvent(link, receiver, 'message');
  sender.send({
    ...{ message_id: messageId, body: put.token },
    ...(replyTo === undefined ? {} : { reply_to: replyTo }),
    application_properties: { operation: 'put-token', type: put.type, name: put.audience, ...properties },
  });
  const { message } = await reply;
  const { 'status-code': status, 'status-description': description } = message?.application_properties ?? {};
  if (message?.correlation_id !== messageId)
    throw new Error(`a reply to put-token ${message?.correlation_id}, not ${messageId}`);
  if (status !== 200) throw new Error(`put-token: ${status} ${description}`);
}
