// The service client of the unmodified azure-iothub: opens over the named transport, then sends a message to a device on request.
import azureIothub from 'azure-iothub';
import { serveLines } from './serve-lines.mjs';

const { Client, AmqpWs } = azureIothub;
// The client's default is AMQP over TLS.
const transport = process.env.TRANSPORT === 'AmqpWs' ? AmqpWs : undefined;
const client = Client.fromConnectionString(process.env.CONNECTION_STRING, transport);

serveLines({
  open: () => client.open().then(() => 'open'),
  send: (deviceId) =>
    client.send(deviceId, 'hello').then(
      () => 'taken',
      (error) => error.name,
    ),
  close: () => client.close().then(() => 'closed'),
});
