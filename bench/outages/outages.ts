import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Cleanup } from '../../tests/system/support/cleanup.ts';
import { eventually } from '../../tests/system/support/eventually.ts';
import { FieldHub, startAt } from '../../tests/system/support/field-hub.ts';
import { FieldNetwork, type Place } from '../../tests/system/support/field-network.ts';
import { must, type Program } from '../../tests/system/support/program.ts';

// Measures how each kind of outage appears at both ends of raw streams: the figures of docs/operating/networks.md. Every outage has its own device and service, in network
// namespaces, so all outages run at the same time; this takes seven minutes. Run as root: `npm run outages`, or `npm run outages -- WORDS` for the outages
// whose names contain these words.

const WITNESS = fileURLToPath(new URL('../../tests/system/support/witness.mjs', import.meta.url));

/** Milliseconds for which an outage is observed: the longest timeout of a stream is 300 s. */
const WATCHED_MS = 390_000;

type Manner = 'quiet' | 'chatty' | 'flood' | 'paused';

interface Pair {
  readonly name: string;
  readonly device: Place;
  readonly service: Place;
  readonly agent: Program;
  readonly connect: Program;
  /** The programs at both ends, by stream. */
  readonly witnesses: ReadonlyMap<string, { device: Program; service: Program }>;
}

interface Outage {
  readonly name: string;
  /** The behaviour of the two programs, by stream: the device's, then the service's. Default: one silent stream, one with a byte a second each way. */
  readonly streams?: Readonly<Record<string, readonly [Manner, Manner]>>;
  readonly begin: (pair: Pair) => Promise<unknown>;
  /** Milliseconds after which the outage ends, and the action that ends it. */
  readonly end?: { readonly afterMs: number; readonly how: (pair: Pair) => Promise<unknown> };
}

const cutDevice = ({ device }: Pair) => device.cut();
const cutService = ({ service }: Pair) => service.cut();
const restored = (afterMs: number) => ({
  afterMs,
  how: async ({ device, service }: Pair) => {
    await device.restore();
    await service.restore();
  },
});
/** Ends the device's gateway connections with a RST towards the device; the gateway's own RST does not arrive. */
async function resetDevice({ device }: Pair): Promise<void> {
  await device.cut();
  await must('ip', [...device.prefix.slice(1), 'ss', '-K', 'dport', '=', '8443']);
  await device.restore();
}
const signal = (who: 'agent' | 'connect', name: NodeJS.Signals) => async (pair: Pair) => pair[who].signal(name);

const OUTAGES: readonly Outage[] = [
  { name: 'link of the device down for 11 s', begin: cutDevice, end: restored(11_000) },
  { name: 'link of the device down for 30 s', begin: cutDevice, end: restored(30_000) },
  { name: 'link of the device down', begin: cutDevice },
  { name: 'link of the service down for 30 s', begin: cutService, end: restored(30_000) },
  { name: 'link of the service down', begin: cutService },
  { name: 'RST to the device alone', begin: resetDevice },
  { name: 'device changed its address', begin: ({ device }) => device.changeAddress() },
  { name: 'kill -9 of the agent', begin: signal('agent', 'SIGKILL') },
  { name: 'kill -9 of connect', begin: signal('connect', 'SIGKILL') },
  {
    name: 'device asleep for 30 s (SIGSTOP)',
    begin: signal('agent', 'SIGSTOP'),
    end: { afterMs: 30_000, how: signal('agent', 'SIGCONT') },
  },
  {
    name: 'device asleep for 120 s (SIGSTOP)',
    begin: signal('agent', 'SIGSTOP'),
    end: { afterMs: 120_000, how: signal('agent', 'SIGCONT') },
  },
  {
    name: "the service's program reads nothing",
    streams: { flood: ['flood', 'paused'] },
    begin: async () => undefined,
  },
];

const QUIET_AND_CHATTY = { quiet: ['quiet', 'quiet'], chatty: ['chatty', 'chatty'] } as const;

async function pair(cleanup: Cleanup, network: FieldNetwork, hub: FieldHub, outage: Outage, n: number): Promise<Pair> {
  const [device, service] = [await network.place(), await network.place()];
  const streams = Object.entries(outage.streams ?? QUIET_AND_CHATTY);
  const listeners = streams.map(([, [manner]], index) =>
    startAt(cleanup, device, [process.execPath, WITNESS, 'listen', `${7_001 + index}`, manner]),
  );
  for (const listener of listeners) await listener.waitFor(/listening/);
  const id = `device-${n}`;
  const agent = await hub.agent(
    device,
    id,
    streams.map(([name], index) => `${name}=127.0.0.1:${7_001 + index}`),
  );
  const connect = await hub.connect(
    service,
    id,
    streams.map(([name], index) => `${name}=${7_101 + index}`),
    ['--raw'],
  );
  const witnesses = new Map<string, { device: Program; service: Program }>();
  for (const [index, [name, [, manner]]] of streams.entries()) {
    const dialled = startAt(cleanup, service, [process.execPath, WITNESS, 'dial', `${7_101 + index}`, manner]);
    const listener = listeners[index];
    if (listener === undefined) throw new Error('no listener');
    await listener.waitFor(/open/);
    witnesses.set(name, { device: listener, service: dialled });
  }
  return { name: outage.name, device, service, agent, connect, witnesses };
}

/** Returns the events that a program recorded after `since`, with their time in seconds. */
function seen(program: Program, since: number): string {
  const lines = program.stdout.split('\n').filter((line) => line.startsWith('{'));
  const after = lines
    .map((line) => JSON.parse(line) as { at: number; what: string })
    .filter(({ at, what }) => at >= since && what !== 'closed' && what !== 'open')
    .map(({ at, what }) => `${((at - since) / 1000).toFixed(1)} s: ${what}`);
  return after.length === 0 ? 'nothing' : after.join(', ');
}

async function watch(outage: Outage, made: Pair): Promise<string> {
  const { agent, connect } = made;
  const since = Date.now();
  const [agentSaid, connectSaid] = [agent.stderr.length, connect.stderr.length];
  await outage.begin(made);
  if (outage.end !== undefined) {
    await sleep(outage.end.afterMs);
    await outage.end.how(made);
  }
  const isOver = () =>
    [...made.witnesses.values()].every(({ device, service }) =>
      [device, service].every((program) => program.stdout.includes('"closed"')),
    );
  await eventually('the streams to end', isOver, WATCHED_MS).catch(() => undefined);
  const lines = [...made.witnesses].map(
    ([name, { device, service }]) =>
      `  ${name} stream: device's program ${seen(device, since)}; service's program ${seen(service, since)}`,
  );
  const said = (program: Program, from: number) => program.stderr.slice(from).trim().replaceAll('\n', '\n    | ');
  return [
    `${outage.name}:`,
    ...lines,
    `  agent\n    | ${said(agent, agentSaid)}`,
    `  connect\n    | ${said(connect, connectSaid)}`,
  ].join('\n');
}

const cleanup = new Cleanup();
const words = process.argv[2] ?? '';
const wanted = OUTAGES.filter(({ name }) => name.includes(words));
try {
  const network = await FieldNetwork.create(cleanup);
  const hub = await FieldHub.start(cleanup, await network.place());
  const pairs: [Outage, Pair][] = [];
  for (const [n, outage] of wanted.entries()) pairs.push([outage, await pair(cleanup, network, hub, outage, n)]);
  await Promise.all(pairs.map(async ([outage, made]) => console.log(await watch(outage, made))));

  // The outages that affect all pairs run last.
  for (const name of words === '' ? (['SIGTERM', 'SIGKILL'] as const) : []) {
    const last: Outage = { name: `hub ends by ${name} and starts again`, begin: async () => hub.program.signal(name) };
    const made = await pair(cleanup, network, hub, last, name === 'SIGTERM' ? 100 : 101);
    console.log(await watch(last, made));
    await hub.program.end();
    await hub.restart();
    await made.agent.waitFor(/attached|connected/i);
  }
} finally {
  await cleanup.run();
}
