import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import rhea, { type Connection, type EventContext, type Receiver, type Sender } from 'rhea';
import type { HubProcess } from '../hub-process.ts';
import type { ByteLink, OpenByteLink } from './byte-link.ts';

/** Milliseconds that a client waits for an answer of the hub before it gives up. */
const ANSWER_MS = 30_000;

/** Opens an AMQP connection; `open` holds the fields of its OPEN, with rhea's names. */
export async function openAmqp(
  hub: HubProcess,
  openLink: OpenByteLink,
  mechanism: string,
  open: object,
): Promise<{ link: ByteLink; connection: Connection }> {
  const { link, socket } = await openSocket(hub, openLink);
  const container = rhea.create_container();
  // Without listeners for these events a protocol error would be thrown from the socket's listener.
  for (const event of ['error', 'protocol_error', 'connection_error', 'disconnected']) container.on(event, () => {});
  const connection = container.connect({
    ...{ port: 5671, reconnect: false, ...open, ...saslOptions(mechanism) },
    connection_details: () => ({ host: hub.host, port: 5671, connect: connectBy(socket) }),
  });
  await nextEvent(link, connection, 'connection_open');
  return { link, connection };
}

/** Resolves with the next event of this name; rejects if the peer closes first, or sends nothing before the timeout. */
export function nextEvent(
  link: ByteLink,
  source: Connection | Sender | Receiver,
  event: string,
): Promise<EventContext> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the hub sent nothing where ${event} was due`)), ANSWER_MS);
    const settle = (act: () => void) => {
      clearTimeout(late);
      act();
    };
    source.once(event, (context: EventContext) => settle(() => resolve(context)));
    for (const wrong of ['sender_error', 'receiver_error', 'connection_error', 'disconnected'])
      source.once(wrong, (context: EventContext) => settle(() => reject(refusal(context))));
    void link.ended.then(() => settle(() => reject(new Error(`the hub closed where ${event} was due`))));
  });
}

/** Wraps the bytes of a link in the socket that rhea expects. */
async function openSocket(hub: HubProcess, openLink: OpenByteLink): Promise<{ link: ByteLink; socket: Duplex }> {
  let ready: ByteLink | undefined;
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      ready?.send(chunk);
      done();
    },
  });
  const link = await openLink(hub, (bytes) => socket.push(bytes));
  ready = link;
  void link.ended.then(() => socket.push(null));
  return { link, socket };
}

const connectBy = (socket: Duplex) => (_port: number, _host: string, _options: unknown, connected: () => void) => {
  process.nextTick(connected);
  return socket as Socket;
};

/** Returns options for a SASL mechanism with an empty response; rhea's types do not cover custom mechanisms. */
function saslOptions(mechanism: string): object {
  return {
    sasl_mechanisms: { [mechanism]: () => ({ start: (done: (e?: Error, r?: string) => void) => done(undefined, '') }) },
  };
}

function refusal({ sender, receiver, connection }: EventContext): Error {
  const error = sender?.error ?? receiver?.error ?? connection.error;
  return new Error(`the hub refused: ${error === undefined ? 'it closed' : JSON.stringify(error)}`);
}
