// Pins devices: FILE, a prefix of device ids, their number, and a fingerprint on the command line.
import { systemClock } from '@culvert/stream';
import { parseFingerprint } from './fingerprint.ts';
import { KnownDevices } from './known-devices.ts';

const [, , file = '', prefix = '', count = '', fingerprint = ''] = process.argv;
const devices = new KnownDevices(file, systemClock);
for (let index = 0; index < Number(count); index++) {
  const name = { hub: 'hub.example.com', deviceId: `${prefix}-${index}` };
  await devices.checkOrPin(name, parseFingerprint(fingerprint));
}
