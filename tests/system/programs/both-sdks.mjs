// A device and a service in one program, with the built SDKs. Plain JavaScript, so that every version of Node that the SDKs support can run it.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { DeviceClient } from '@culvert/device';
import { ServiceClient } from '@culvert/service';

const { CULVERT_CA_FILE, CULVERT_CONNECTION_STRING, CULVERT_DEVICE_CONNECTION_STRING } = process.env;
const outbound = { ca: readFileSync(CULVERT_CA_FILE, 'utf8') };

const device = DeviceClient.fromConnectionString(CULVERT_DEVICE_CONNECTION_STRING, {
  onStream: async (offer) => {
    if (offer.name !== 'echo') return offer.reject('only echo');
    const stream = await offer.accept();
    await pipeline(stream, stream);
  },
  outbound,
});
await device.open();

const service = ServiceClient.fromConnectionString(CULVERT_CONNECTION_STRING, { outbound });
const listed = [];
for await (const { deviceId, connectionState } of service.devices.list()) listed.push(`${deviceId} ${connectionState}`);

const refusal = await service.openStream('d1', { name: 'other' }).catch((error) => `${error.code}: ${error.message}`);

const stream = await service.openStream('d1', { name: 'echo', signal: AbortSignal.timeout(20_000) });
const sent = randomBytes(1_048_576);
const hash = createHash('sha256');
let received = 0;
stream.write(sent);
for await (const chunk of stream) {
  hash.update(chunk);
  received += chunk.length;
  if (received === sent.length) stream.end();
}
service.close();
await device.close();

const echoed = hash.digest('hex') === createHash('sha256').update(sent).digest('hex');
console.log(JSON.stringify({ node: process.versions.node, listed, refusal, received, echoed }));
