import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString, parseServiceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';

/**
 * Runs many devices in one process, each with a control channel only. Reads `1 create FROM TO`, `2 attach FROM TO`, `3 detach` and so on
 * from standard input, and answers each request with `done` and its number.
 */
const [directory = ''] = process.argv.slice(2);
/** Devices that connect at the same time: as many as the hub's own limits on handshakes allow. */
const AT_ONCE = 16;

const outbound = { ca: readFileSync(join(directory, 'ca.pem'), 'utf8'), proxy: false } as const;
const owner = readFileSync(join(directory, 'policies/iothubowner'), 'utf8').trim();
const { host, port } = parseServiceConnectionString(owner);
const service = ServiceClient.fromConnectionString(owner, { outbound });
const strings = new Map<number, string>();
let clients: DeviceClient[] = [];

async function attach(index: number): Promise<void> {
  const client = DeviceClient.fromConnectionString(strings.get(index) ?? '', {
    outbound,
    onStream: (offer) => offer.reject(),
  });
  clients.push(client);
  await client.open();
}

async function create(index: number): Promise<void> {
  const deviceId = `idle-${index}`;
  const { authentication } = await service.devices.create(deviceId);
  strings.set(
    index,
    formatDeviceConnectionString({ host, port, deviceId, key: authentication.symmetricKey.primaryKey }),
  );
}

for await (const line of createInterface({ input: process.stdin })) {
  const [number, verb, from = '0', to = '0'] = line.split(' ');
  if (verb === 'attach' || verb === 'create') {
    let next = Number(from);
    const worker = async (): Promise<void> => {
      while (next < Number(to)) await (verb === 'attach' ? attach : create)(next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } else {
    await Promise.all(clients.map((client) => client.close()));
    clients = [];
  }
  if (!process.stdout.write(`done ${number}\n`)) await once(process.stdout, 'drain');
}
