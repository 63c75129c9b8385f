import { once } from 'node:events';
import { parseServiceConnectionString } from '@culvert/protocol';
import type { Connection, Receiver, Sender } from 'rhea';
import type { HubProcess } from '../hub-process.ts';
import { seconds } from '../sas.ts';
import { nextEvent, openAmqp } from './amqp-connection.ts';
import type { ByteLink, OpenByteLink } from './byte-link.ts';
import { type CbsLinks, CSHARP_TOKEN_TYPE, csharpPutToken, openCsharpCbs, putToken } from './cbs.ts';
import { csharpPolicyToken } from './credentials.ts';

/** The C# service client after a call of `OpenAsync`: it holds an AMQP connection, whether or not it sends messages. */
export class CsharpServiceConnection {
  /** Resolves when the connection has ended, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #link: ByteLink;
  readonly #connection: Connection;
  readonly #renew: () => Promise<void>;
  readonly #messages: Sender;
  readonly #feedback: Receiver;

  private constructor(
    { link, connection }: { link: ByteLink; connection: Connection },
    links: { messages: Sender; feedback: Receiver },
    renew: () => Promise<void>,
  ) {
    this.ended = link.ended;
    this.#link = link;
    this.#connection = connection;
    this.#messages = links.messages;
    this.#feedback = links.feedback;
    this.#renew = renew;
  }

  /** `OpenAsync()` with the connection string of a policy. @throws Error when the hub refuses */
  static async open(
    hub: HubProcess,
    openLink: OpenByteLink,
    connectionString: string,
  ): Promise<CsharpServiceConnection> {
    const { host, key, policy } = parseServiceConnectionString(connectionString);
    const opened = await openAmqp(hub, openLink, 'ANONYMOUS', { hostname: host, host, max_frame_size: 65_536 });
    const { link, connection } = opened;
    const cbs: CbsLinks = await openCsharpCbs(link, connection);
    let puts = 0;
    const renew = async () => {
      const expiry = seconds(3600);
      const token = csharpPolicyToken(host, key, expiry, policy);
      const header = csharpPutToken(puts++, expiry);
      await putToken(link, cbs, { ...header, audience: `amqps://${host}:5671/`, type: CSHARP_TOKEN_TYPE, token });
    };
    await renew();
    const session = connection.create_session();
    session.begin();
    const properties = {
      'com.microsoft:timeout': 60_000,
      'com.microsoft:client-version': 'Microsoft.Azure.Devices/1.28.0-preview-001',
    };
    const messages = session.open_sender({
      ...{ name: 'sender1', properties, source: {}, target: { address: `amqps://${host}:5671/messages/deviceBound` } },
    });
    await nextEvent(link, messages, 'sendable');
    const feedback = session.open_receiver({
      ...{ name: 'receiver2', properties, credit_window: 0, target: {} },
      source: { address: `amqps://${host}:5671/messages/serviceBound/feedback` },
    });
    await nextEvent(link, feedback, 'receiver_open');
    feedback.add_credit(50);
    return new CsharpServiceConnection(opened, { messages, feedback }, renew);
  }

  renewToken(): Promise<void> {
    return this.#renew();
  }

  /** `SendAsync`: resolves with the condition by which the message was rejected. */
  async send(deviceId: string): Promise<string | undefined> {
    const rejected = once(this.#messages, 'rejected');
    this.#messages.send({ to: `/devices/${deviceId}/messages/deviceBound`, body: 'hello' });
    const [{ delivery }] = await rejected;
    return delivery.remote_state?.error?.condition;
  }

  /** `CloseAsync`: detaches both links and ends the connection. */
  async close(): Promise<void> {
    const detached = Promise.all([
      nextEvent(this.#link, this.#messages, 'sender_close'),
      nextEvent(this.#link, this.#feedback, 'receiver_close'),
    ]);
    this.#messages.close();
    this.#feedback.close();
    await detached;
    const closed = nextEvent(this.#link, this.#connection, 'connection_close');
    this.#connection.close();
    await closed;
    this.drop();
    await this.ended;
  }

  drop(): void {
    this.#link.drop();
  }
}
