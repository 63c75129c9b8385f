// A device that sends received data back. It needs only its connection string and an outgoing connection to the hub.
import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { DeviceClient, type StreamOffer } from '@culvert/device';

async function echo(offer: StreamOffer): Promise<void> {
  if (offer.name !== 'echo') return offer.reject(`There is no '${offer.name}' here, only 'echo'.`);
  const stream = await offer.accept();
  console.log(`echoing for ${offer.caller ?? 'somebody'}`);
  await pipeline(stream, stream);
}

const caFile = process.env['CULVERT_CA_FILE'];
const device = DeviceClient.fromConnectionString(process.env['CULVERT_DEVICE_CONNECTION_STRING'] ?? '', {
  outbound: caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') },
  onStream: echo,
  onStateChange: (state, error) => console.log(error === undefined ? state : `${state}: ${error.message}`),
});

process.once('SIGINT', () => device.close());
process.once('SIGTERM', () => device.close());
await device.open();
