import { once } from 'node:events';
import rhea, { type Connection, type Message, type Sender } from 'rhea';
import type { Cleanup } from './cleanup.ts';
import type { HubProcess } from './hub-process.ts';

/** How a client that uses rhea authenticates: with SASL PLAIN, or with its TLS certificate, by SASL EXTERNAL or without SASL. */
export type RheaCredentials =
  | { readonly username: string; readonly password: string }
  | { readonly cert: string; readonly key: string; readonly enable_sasl_external: boolean };

/** Opens a connection to port 5671 with rhea's own TLS and SASL; it is closed at the end of the test. */
export function connectRhea(cleanup: Cleanup, hub: HubProcess, credentials: RheaCredentials): Connection {
  const container = rhea.create_container();
  // Without listeners, errors would be thrown from the socket's own listener.
  for (const event of ['error', 'protocol_error', 'connection_error', 'disconnected']) container.on(event, () => {});
  const connection = container.connect({
    ...{ transport: 'tls', host: hub.host, port: 5671, ca: hub.ca, reconnect: false, ...credentials },
  });
  return cleanup.defer(connection, () => connection.close());
}

/** Attaches the two links of a device that accepts streams; returns the link for answers, and the list of received requests. */
export async function attachStreams(
  connection: Connection,
  deviceId: string,
): Promise<{ answers: Sender; requests: Message[] }> {
  const address = `/devices/${deviceId}/streams`;
  const properties = { 'com.microsoft:channel-correlation-id': `streams:${rhea.generate_uuid()}` };
  const requests: Message[] = [];
  const receiver = connection.open_receiver({ source: address, properties });
  receiver.on('message', ({ message }) => requests.push(message));
  const answers = connection.open_sender({ target: address, properties });
  await Promise.all([once(receiver, 'receiver_open'), once(answers, 'sendable')]);
  return { answers, requests };
}
