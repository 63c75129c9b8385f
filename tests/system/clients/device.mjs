// A device or module with the unmodified azure-iot-device, over the transport named in TRANSPORT.
import { readFileSync } from 'node:fs';
import azureIotDevice from 'azure-iot-device';
import amqp from 'azure-iot-device-amqp';
import mqtt from 'azure-iot-device-mqtt';
import { describeError, print, serveLines } from './serve-lines.mjs';

const { CONNECTION_STRING, TRANSPORT, CERT_FILE, KEY_FILE, CA_FILE, RENEWAL } = process.env;

const { Client, ModuleClient, Message } = azureIotDevice;
const kind = CONNECTION_STRING.includes('ModuleId=') ? ModuleClient : Client;
const client = kind.fromConnectionString(CONNECTION_STRING, { ...mqtt, ...amqp }[TRANSPORT]);
client.on('connect', () => print({ event: 'connect' }));
client.on('disconnect', (error) => print({ event: 'disconnect', error: error?.message }));
client.on('error', (error) => print({ event: 'error', error: describeError(error) }));

const options = {};
if (CA_FILE) options.ca = readFileSync(CA_FILE, 'utf8');
if (CERT_FILE) Object.assign(options, { cert: readFileSync(CERT_FILE, 'utf8'), key: readFileSync(KEY_FILE, 'utf8') });
if (RENEWAL) {
  const [tokenValidTimeInSeconds, tokenRenewalMarginInSeconds] = RENEWAL.split(',').map(Number);
  options.tokenRenewal = { tokenValidTimeInSeconds, tokenRenewalMarginInSeconds };
}
if (Object.keys(options).length > 0) await client.setOptions(options);

serveLines({
  open: async () => (await client.open()).constructor.name,
  close: async () => (await client.close()).constructor.name,
  sendEvent: async (text) => (await client.sendEvent(new Message(text))).constructor.name,
  getTwin: async () => (await client.getTwin()).properties,
  updateReported: async (patch) => {
    const twin = await client.getTwin();
    await new Promise((resolve, reject) =>
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())),
    );
  },
  // Neither function reports its completion; an error is emitted as an event.
  listenForMethods: () => {
    client.onDeviceMethod('reboot', () => print({ event: 'method' }));
  },
  listenForMessages: () => {
    client.on('message', () => print({ event: 'message' }));
  },
});
