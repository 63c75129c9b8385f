// Asks a device for its stream 'echo', sends it a text, and prints what comes back: node service.ts DEVICE [TEXT]
import { readFileSync } from 'node:fs';
import { ServiceClient } from '@culvert/service';

const [deviceId = 'demo', text = 'hello'] = process.argv.slice(2);
const caFile = process.env['CULVERT_CA_FILE'];
const service = ServiceClient.fromConnectionString(process.env['CULVERT_CONNECTION_STRING'] ?? '', {
  outbound: caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') },
});

const stream = await service.openStream(deviceId, { name: 'echo' });
// This side has said all; what comes back is still read, until the device has ended too.
stream.end(text);
for await (const chunk of stream) process.stdout.write(chunk);
process.stdout.write('\n');
service.close();
