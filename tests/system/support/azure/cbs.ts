import { randomUUID } from 'node:crypto';
import rhea, { type Connection, type Receiver, type Sender } from 'rhea';
import { nextEvent } from './amqp-connection.ts';
import type { ByteLink } from './byte-link.ts';

/** The two links to `$cbs` of a client. */
export interface CbsLinks {
  readonly sender: Sender;
  readonly receiver: Receiver;
}

/** What a put-token says of itself, beside the token. */
export interface PutTokenHeader {
  readonly messageId: number | string;
  readonly replyTo?: string;
  /** Beside the three of AMQP CBS. */
  readonly properties: Readonly<Record<string, unknown>>;
}

/** What the C# clients, of devices and services, call the kind of their token. */
export const CSHARP_TOKEN_TYPE = 'azure-devices.net:sastoken';

/** The C client's: in the connection's one session, named for the node. */
export async function openCCbs(link: ByteLink, connection: Connection): Promise<CbsLinks> {
  const sender = connection.open_sender({ name: '$cbs-sender', source: '$cbs', target: '$cbs' });
  const receiver = connection.open_receiver({ name: '$cbs-receiver', source: '$cbs', target: '$cbs' });
  await Promise.all([nextEvent(link, sender, 'sendable'), nextEvent(link, receiver, 'receiver_open')]);
  return { sender, receiver };
}

/** That of Microsoft.Azure.Amqp: a session of their own, one name for both, all settled when sent, the answers' node a new id. */
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

/** What Microsoft.Azure.Amqp says with its nth put-token. */
export function csharpPutToken(count: number, expiry: number): PutTokenHeader {
  return {
    messageId: `request${count + 1}`,
    replyTo: randomUUID().replaceAll('-', ''),
    properties: { expiration: rhea.types.wrap_timestamp(expiry * 1_000) },
  };
}

/** Puts a token. @throws Error where the hub does not answer it with 200 */
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
