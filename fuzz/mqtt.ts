import { readdirSync, readFileSync } from 'node:fs';
import { CulvertError, type Offer } from '@culvert/protocol';
import { encodePacket, type MqttPacket, type MqttVersion, PacketReader } from '@culvert/protocol/mqtt';
import { devicePrincipal, duplexPair, FakeClock } from '@culvert/testkit';
import type { ControlChannel } from '../packages/hub/src/control/control-channel.ts';
import { acceptMqtt } from '../packages/hub/src/control/mqtt/accept-mqtt.ts';
import { NO_SERVICES } from '../packages/hub/src/control/no-services.fixture.ts';
import type { HubEvent } from '../packages/hub/src/observe/events.ts';
import { fuzzArguments } from './arguments.ts';
import { Prng } from './prng.ts';

// Fuzzes the MQTT listener. For every input, split anywhere, the hub must answer with well-formed MQTT or close the connection; every offer must
// settle, every attached device must be detached again, and no timer may remain.
// `node --conditions=development fuzz/mqtt.ts [--seed N] [--runs N]`

/** Result of a run: how often devices were accepted, and with which codes connections ended. */
export type FuzzCounts = Record<string, number>;

const CORPUS = new URL('corpus/mqtt/', import.meta.url);

/** Conversations of real clients, device to hub, as hexadecimal. */
function readCorpus(): Buffer[] {
  return readdirSync(CORPUS)
    .filter((name) => name.endsWith('.hex'))
    .sort()
    .map((name) => Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replaceAll(/\s/g, ''), 'hex'));
}

const OFFER: Offer = {
  streamId: '0123456789abcdef0123456789abcdef',
  streamName: 'ssh',
  caller: 'policy:service',
  grant: { url: 'wss://hub.example:8443/bridges/0123456789abcdef0123456789abcdef/device', token: 'e.y.J' },
};

const TOPICS = [
  '$iothub/streams/POST/#',
  '$iothub/streams/res/200/?$rid=1',
  '$iothub/streams/res/400/?$rid=2',
  '$iothub/streams/res/200/?$rid=',
  '$iothub/streams/res/',
  'devices/d1/messages/events/',
  '$share/a/b',
  '+/#',
  '',
];

/** A random well-formed packet; not every one is a packet that a device may send. */
function anyPacket(random: Prng, version: MqttVersion): Buffer {
  const messageId = random.integer(1, 3);
  const topic = random.pick(TOPICS);
  const qos = random.pick([0, 1, 2] as const);
  const packet = random.pick<MqttPacket>([
    { cmd: 'pingreq' },
    { cmd: 'pingresp' },
    { cmd: 'subscribe', messageId, subscriptions: [{ topic: '$iothub/streams/POST/#', qos }] },
    { cmd: 'subscribe', messageId, subscriptions: new Array(random.integer(1, 70)).fill({ topic: topic || 'a', qos }) },
    { cmd: 'unsubscribe', messageId, unsubscriptions: [topic || 'a'] },
    {
      cmd: 'publish',
      topic: topic || 'a',
      qos,
      messageId,
      dup: false,
      retain: random.chance(0.5),
      payload: random.bytes(random.integer(0, 600)),
    },
    { cmd: 'puback', messageId, reasonCode: 0 },
    { cmd: 'pubrec', messageId, reasonCode: 0 },
    { cmd: 'connack', sessionPresent: false, returnCode: 0, reasonCode: 0 },
    { cmd: 'disconnect', reasonCode: 0 },
  ]);
  return encodePacket(packet, version);
}

function mutated(random: Prng, bytes: Buffer): Buffer {
  let result = bytes;
  for (let count = random.integer(0, 4); count > 0; count--) {
    const at = random.integer(0, result.length);
    const other = random.integer(0, result.length);
    const put = random.pick<() => Uint8Array>([
      () => new Uint8Array(0),
      () => random.bytes(random.integer(1, 4)),
      () => Buffer.from([0xff, 0xff, 0xff, 0x7f]),
      () => result.subarray(at, Math.min(result.length, at + 40)),
    ])();
    const kept = random.chance(0.5) ? at : other;
    result = Buffer.concat([result.subarray(0, at), put, result.subarray(Math.max(kept, at))]);
  }
  return result;
}

/** The input of one device: a recorded conversation followed by random packets, a mutation of that, or noise. */
function conversation(random: Prng, corpus: readonly Buffer[]): Buffer {
  const base = random.pick(corpus);
  const version = base.includes(Buffer.from([0x4d, 0x51, 0x54, 0x54, 5])) ? 5 : 4;
  const more = Array.from({ length: random.integer(0, 6) }, () => anyPacket(random, version));
  const sane = Buffer.concat([base, ...more]);
  if (random.chance(0.05)) return random.bytes(random.integer(1, 300));
  return random.chance(0.4) ? sane : mutated(random, sane);
}

function* cut(random: Prng, bytes: Buffer): Generator<Buffer> {
  const longest = random.pick([1, 7, 60, 100_000]);
  for (let at = 0; at < bytes.length; ) {
    const size = random.integer(1, longest);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** One device's connection. @throws Error when the hub violates an invariant */
async function runCase(random: Prng, corpus: readonly Buffer[], counts: FuzzCounts): Promise<void> {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const offers: Promise<string>[] = [];
  const offer = (channel: ControlChannel): void => {
    const timeout = new AbortController();
    clock.setTimer(30_000, () => timeout.abort(new CulvertError('device_silent')));
    const code = (error: CulvertError): string => error.code;
    offers.push(
      channel.offer(OFFER, timeout.signal).then((answer) => (answer.accepted ? 'accepted' : 'rejected'), code),
    );
  };
  const [hubEnd, deviceEnd] = duplexPair();
  const accepted = acceptMqtt(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'mqtt' },
    {
      authenticate: async ({ identity }) => {
        if (random.chance(0.1)) throw new CulvertError('unauthorized');
        return devicePrincipal(identity, { expiresAt: clock.now() + random.pick([20_000, 7_200_000]) });
      },
      services: NO_SERVICES,
      registrar: { attach: (channel) => channels.push(channel), offersChanged: offer },
      clock,
      onEvent: (event) => events.push(event),
      limits: { authenticateMs: 10_000, maxPacketBytes: 16_384, maxOffers: 4, maxQueuedBytes: 65_536 },
    },
  );
  const output: Buffer[] = [];
  deviceEnd.on('data', (chunk: Buffer) => output.push(chunk));
  deviceEnd.on('error', () => {});
  for (const chunk of cut(random, conversation(random, corpus))) {
    if (deviceEnd.destroyed || !deviceEnd.writable) break;
    deviceEnd.write(chunk);
    if (random.chance(0.2)) await clock.advance(0);
    if (channels.length > 0 && random.chance(0.02)) await clock.advance(random.pick([1_000, 40_000]));
  }
  await clock.advance(0);
  for (const channel of channels) offer(channel);
  if (random.chance(0.5)) deviceEnd.destroy();
  // Expiry, keepalive or the authentication timeout ends every remaining connection.
  await clock.advance(7_300_000);
  await accepted;
  for (const outcome of await Promise.all(offers)) counts[`offer ${outcome}`] = (counts[`offer ${outcome}`] ?? 0) + 1;
  for (const channel of channels) await channel.closed;
  await clock.advance(0);
  check(hubEnd.destroyed, 'the connection is still open');
  check(clock.timers === 0, `${clock.timers} timers are left`);
  const kinds = events.map((event) => event.type);
  const number = (kind: HubEvent['type']) => kinds.filter((each) => each === kind).length;
  check(number('device-attached') === channels.length, 'the device-attached events do not match the attached devices');
  check(number('device-detached') === channels.length, 'the device-detached events do not match the attached devices');
  checkWellFormed(Buffer.concat(output));
  for (const event of events) {
    const name = 'error' in event ? `${event.type} ${event.error}` : event.type;
    counts[name] = (counts[name] ?? 0) + 1;
  }
}

function check(condition: boolean, problem: string): void {
  if (!condition) throw new Error(problem);
}

/** Checks that the hub's output is MQTT of the right version: CONNACK has 2 bytes in 3.1.1 and at least 3 in 5. */
function checkWellFormed(output: Buffer): void {
  if (output.length === 0) return;
  check(output[0] === 0x20, 'the hub sent other data before CONNACK or DISCONNECT');
  for (const packet of new PacketReader(1_000_000, output[1] === 2 ? 4 : 5).push(output)) {
    const expected: MqttPacket['cmd'][] = [
      'connack',
      'suback',
      'unsuback',
      'puback',
      'publish',
      'pingresp',
      'disconnect',
    ];
    check(expected.includes(packet.cmd), `the hub sent ${packet.cmd}`);
  }
}

/**
 * Runs `runs` devices.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzMqtt(seed: number, runs: number): Promise<FuzzCounts> {
  const corpus = readCorpus();
  const random = new Prng(seed);
  const counts: FuzzCounts = {};
  for (let run = 0; run < runs; run++) {
    try {
      await runCase(random.fork(), corpus, counts);
    } catch (error) {
      throw new Error(`seed ${seed}, case ${run}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(20_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzMqtt(seed, runs), null, 2)}\n`);
}
