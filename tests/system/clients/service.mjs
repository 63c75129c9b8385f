// The service client of azure-iothub, unmodified: opened over the transport that is named, then asked to send a message to a device.
import azureIothub from 'azure-iothub';
import { serveLines } from './serve-lines.mjs';

const { Client, AmqpWs } = azureIothub;
// Its default is AMQP over TLS.
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
