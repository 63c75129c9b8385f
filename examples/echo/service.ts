// Opens the stream 'echo' to a device, sends a text, and prints the received data: node service.ts DEVICE [TEXT]
import { readFileSync } from 'node:fs';
import { ServiceClient } from '@culvert/service';

const [deviceId = 'demo', text = 'hello'] = process.argv.slice(2);
const caFile = process.env['CULVERT_CA_FILE'];
const service = ServiceClient.fromConnectionString(process.env['CULVERT_CONNECTION_STRING'] ?? '', {
  outbound: caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') },
});

const stream = await service.openStream(deviceId, { name: 'echo' });
// Sends the text and ends this side's direction. The loop still reads received data until the device has ended its direction too.
stream.end(text);
for await (const chunk of stream) process.stdout.write(chunk);
process.stdout.write('\n');
service.close();
