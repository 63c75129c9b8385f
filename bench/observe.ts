import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { parseArgs } from 'node:util';
import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { Child } from './processes/child.ts';
import { ownUsage, watchOthers } from './processes/usage.ts';
import { median, pairedRatio } from './statistics.ts';

// What it costs that every stream is observed: `node --conditions=development bench/observe.ts`. Four hubs in one run, each in a process of its own:
// one whose events nobody hears, one with metrics, one with the audit record too (synced to disk), one with the log too. In each round each is measured once,
// beginning with another; told are processor seconds by the operating system's account, and the medians of the rounds' ratios to the first.

const VARIANTS = ['nothing', 'metrics', 'audit', 'all'] as const;
type Variant = (typeof VARIANTS)[number];

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    handshakes: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: '268435456' },
  },
});
const [rounds, handshakes, bytes] = [Number(values.rounds), Number(values.handshakes), Number(values.bytes)];

/** Handshakes at once. */
const AT_ONCE = 8;

interface Entrant {
  readonly variant: Variant;
  readonly hub: Child;
  readonly service: ServiceClient;
  readonly device: DeviceClient;
  /** Processor seconds of each round: for a thousand handshakes, and for 10⁹ bytes. */
  readonly perThousand: number[];
  readonly perGigabyte: number[];
}

async function start(variant: Variant, directory: string): Promise<Entrant> {
  const main = join(import.meta.dirname, 'observe-hub-main.ts');
  const args = ['--conditions=development', main, variant, directory];
  const hub = new Child({ command: process.execPath, args }).readOutput();
  const port = Number((await hub.ready(/listening (\d+)/))[1]);
  const outbound = { ca: readFileSync(join(directory, 'data/ca.pem'), 'utf8'), proxy: false as const };
  const policy = readFileSync(join(directory, 'data/policies/iothubowner'), 'utf8').trim();
  const service = ServiceClient.fromConnectionString(policy, { outbound });
  const { authentication } = await service.devices.create('d');
  const key = authentication.symmetricKey.primaryKey ?? '';
  const device = DeviceClient.fromConnectionString(
    formatDeviceConnectionString({ host: '127.0.0.1', port, deviceId: 'd', key }),
    {
      outbound,
      onStream: async (offer) => {
        const stream = await offer.accept();
        stream.on('error', () => stream.destroy());
        if (offer.name === 'echo') stream.pipe(stream);
        else stream.resume();
      },
    },
  );
  await device.open();
  return { variant, hub, service, device, perThousand: [], perGigabyte: [] };
}

async function openAndClose(service: ServiceClient): Promise<void> {
  const stream = await service.openStream('d', { name: 'echo' });
  stream.write('0123456789abcdef');
  await once(stream, 'data');
  stream.resume().end();
  await once(stream, 'close');
}

async function manyHandshakes({ service }: Entrant): Promise<void> {
  let left = handshakes;
  const one = async () => {
    while (left-- > 0) await openAndClose(service);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

async function manyBytes({ service }: Entrant): Promise<void> {
  const stream: Duplex = await service.openStream('d', { name: 'sink' });
  const chunk = Buffer.alloc(65_536, 7);
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.resume().end();
  await once(stream, 'close');
}

/** Processor seconds that a hub uses for `work`, its threads included. */
async function cost(entrant: Entrant, work: (entrant: Entrant) => Promise<void>): Promise<number> {
  const before = ownUsage(entrant.hub.pid).cpuSeconds;
  await work(entrant);
  return ownUsage(entrant.hub.pid).cpuSeconds - before;
}

const directories = VARIANTS.map(() => mkdtempSync(join(tmpdir(), 'culvert-observe-')));
const entrants: Entrant[] = [];
try {
  for (const [index, variant] of VARIANTS.entries()) entrants.push(await start(variant, directories[index] as string));
  for (const entrant of entrants) {
    await manyHandshakes(entrant);
    await manyBytes(entrant);
  }
  const others = watchOthers();
  for (let round = 0; round < rounds; round++) {
    const first = round % entrants.length;
    for (const entrant of [...entrants.slice(first), ...entrants.slice(0, first)]) {
      entrant.perThousand.push((await cost(entrant, manyHandshakes)) / (handshakes / 1_000));
      entrant.perGigabyte.push((await cost(entrant, manyBytes)) / (bytes / 1e9));
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  const [baseline] = entrants as [Entrant, ...Entrant[]];
  const line = ({ variant, perThousand, perGigabyte }: Entrant) => {
    const ratio = (of: number[], to: number[]) => (pairedRatio(of, to) ?? Number.NaN).toFixed(3);
    const cells = [
      median(perThousand).toFixed(2),
      ratio(perThousand, baseline.perThousand),
      median(perGigabyte).toFixed(2),
      ratio(perGigabyte, baseline.perGigabyte),
    ];
    return `| ${[variant, ...cells].join(' | ')} |\n`;
  };
  process.stdout.write(
    '| heard by | CPU s per 1,000 handshakes | ratio | CPU s per GB | ratio |\n| --- | --- | --- | --- | --- |\n',
  );
  process.stdout.write(entrants.map(line).join(''));
  const { length } = VARIANTS;
  process.stdout.write(`\n${rounds} rounds of ${handshakes} handshakes and ${bytes} bytes, ${length} hubs; `);
  process.stdout.write(`other programs used ${others().toFixed(2)} processors.\n`);
} finally {
  for (const { device, service, hub } of entrants) {
    await device.close();
    service.close();
    await hub.stop();
  }
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
}
