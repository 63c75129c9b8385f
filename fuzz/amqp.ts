import { X509Certificate } from 'node:crypto';
import { CulvertError, type Offer } from '@culvert/protocol';
import { deviceCertificate, devicePrincipal, duplexPair, FakeClock, policyPrincipal } from '@culvert/testkit';
import type { ClientCertificate } from '../packages/hub/src/auth/client-certificate.ts';
import { keyDigest } from '../packages/hub/src/auth/key-digest.ts';
import type { Proof } from '../packages/hub/src/auth/principal.ts';
import { acceptAmqp } from '../packages/hub/src/control/amqp/accept-amqp.ts';
import { PERFORMATIVES, readPerformative } from '../packages/hub/src/control/amqp-validator/performative.ts';
import type { ControlChannel } from '../packages/hub/src/control/control-channel.ts';
import { ServiceConnections } from '../packages/hub/src/control/service-connections.ts';
import type { HubEvent } from '../packages/hub/src/observe/events.ts';
import type { PolicyRecord } from '../packages/hub/src/registry/registry.ts';
import { anyConversation, readAmqpCorpus } from './amqp-conversation.ts';
import { fuzzArguments } from './arguments.ts';
import { Prng } from './prng.ts';

// Fuzzes the AMQP listener. For every input, split anywhere, the hub must answer with well-formed AMQP or close the connection; every offer must
// settle, every attached device must be detached again, no timer may remain, and nothing may be printed.
// `node --conditions=development fuzz/amqp.ts [--seed N] [--runs N]`

/** Result of a run: how often devices were accepted, and with which codes connections ended. */
export type FuzzCounts = Record<string, number>;

const OFFER: Offer = {
  streamId: '0123456789abcdef0123456789abcdef',
  streamName: 'ssh',
  caller: 'policy:service',
  grant: { url: 'wss://hub.example:8443/bridges/0123456789abcdef0123456789abcdef/device', token: 'e.y.J' },
};

const POLICY: PolicyRecord = {
  name: 'service',
  permissions: ['ServiceConnect'],
  primaryKey: 'Zmlyc3Q=',
  secondaryKey: 'c2Vjb25k',
};

const PROOF: Proof = {
  kind: 'key',
  owner: { kind: 'policy', policy: POLICY.name },
  keyDigest: keyDigest(POLICY.primaryKey),
};

function* cut(random: Prng, bytes: Buffer): Generator<Buffer> {
  const longest = random.pick([1, 7, 60, 100_000]);
  for (let at = 0; at < bytes.length; ) {
    const size = random.integer(1, longest);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** The inputs that all cases share. */
interface Material {
  readonly corpus: readonly Buffer[];
  /** The TLS client certificate of a device named `d1`. */
  readonly certificate: ClientCertificate;
}

async function gather(): Promise<Material> {
  const { cert, sha1, sha256 } = await deviceCertificate('d1');
  const certificate = { certificate: new X509Certificate(cert), sent: [], commonName: 'd1', sha1, sha256 };
  return { corpus: readAmqpCorpus(), certificate };
}

/** One device's connection. @throws Error when the hub violates an invariant */
async function runCase(random: Prng, { corpus, certificate }: Material, counts: FuzzCounts): Promise<void> {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const services = new ServiceConnections({
    authenticate: async () => {
      if (random.chance(0.1)) throw new CulvertError('forbidden');
      const expiresAt = clock.now() + random.pick([20_000, 7_200_000]);
      return policyPrincipal('service', { expiresAt, proof: PROOF });
    },
    policies: { get: async () => POLICY },
    draining: new AbortController().signal,
    clock,
    onEvent: (event) => {
      events.push(event);
      if (event.type === 'service-connected' && random.chance(0.3))
        clock.setTimer(5_000, () => services.revocation.policyChanged({ ...POLICY, primaryKey: 'cm90YXRlZA==' }));
    },
  });
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
  const accepted = acceptAmqp(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'amqp', certificate: random.chance(0.2) ? certificate : undefined },
    {
      authenticate: async ({ identity }) => {
        if (random.chance(0.1)) throw new CulvertError('unauthorized');
        return devicePrincipal(identity, { expiresAt: clock.now() + random.pick([20_000, 7_200_000]) });
      },
      services,
      registrar: {
        // `attach` is called again for a renewed channel.
        attach: (channel) => channels.includes(channel) || channels.push(channel),
        offersChanged: (channel) => channel.takesOffers && offer(channel),
      },
      clock,
      onEvent: (event) => events.push(event),
      limits: { authenticateMs: 10_000, maxPacketBytes: 16_384, maxOffers: 4, maxQueuedBytes: 65_536 },
    },
  );
  const output: Buffer[] = [];
  deviceEnd.on('data', (chunk: Buffer) => output.push(chunk));
  deviceEnd.on('error', () => {});
  const conversation = anyConversation(random, corpus);
  for (const chunk of cut(random, conversation.bytes)) {
    if (deviceEnd.destroyed || !deviceEnd.writable) break;
    deviceEnd.write(chunk);
    if (random.chance(0.2)) await clock.advance(0);
    if (channels.length > 0 && random.chance(0.02)) await clock.advance(random.pick([1_000, 40_000]));
  }
  await clock.advance(0);
  for (const id of correlationIds(Buffer.concat(output))) {
    const answer = random.chance(0.8) ? conversation.answer(id, random.chance(0.5)) : undefined;
    if (answer !== undefined && !deviceEnd.destroyed && deviceEnd.writable) deviceEnd.write(answer);
  }
  await clock.advance(0);
  for (const channel of channels) offer(channel);
  if (random.chance(0.5)) deviceEnd.destroy();
  // Expiry, silence or the authentication timeout ends every remaining connection.
  await clock.advance(7_300_000);
  await accepted;
  for (const outcome of await Promise.all(offers)) count(counts, `offer ${outcome}`);
  for (const channel of channels) await channel.closed;
  check(services.size === 0, 'a service connection is still open');
  await clock.advance(0);
  check(hubEnd.destroyed, 'the connection is still open');
  check(clock.timers === 0, `${clock.timers} timers are left`);
  const kinds = events.map((event) => event.type);
  const number = (kind: HubEvent['type']) => kinds.filter((each) => each === kind).length;
  check(number('device-attached') === channels.length, 'the device-attached events do not match the attached devices');
  check(number('device-detached') === channels.length, 'the device-detached events do not match the attached devices');
  check(number('service-connected') === number('service-disconnected'), 'a service event is missing');
  check(channels.length === 0 || number('service-connected') === 0, 'one connection served a service and devices');
  check(number('fault') === 0, JSON.stringify(events));
  checkWellFormed(Buffer.concat(output));
  for (const event of events) {
    const name = 'error' in event ? `${event.type} ${event.error}` : event.type;
    count(counts, name);
  }
}

function count(counts: FuzzCounts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

function check(condition: boolean, problem: string): void {
  if (!condition) throw new Error(problem);
}

/** The correlation ids of the offers in the hub's output: each is a uuid in a request's properties. */
function correlationIds(output: Buffer): Buffer[] {
  const mark = Buffer.from([0x40, 0x40, 0x40, 0x98]);
  const ids: Buffer[] = [];
  for (let at = output.indexOf(mark); at >= 0; at = output.indexOf(mark, at + 1))
    ids.push(output.subarray(at + 4, at + 20));
  return ids;
}

/** Checks that the hub's output is AMQP: protocol headers and complete frames, an open frame first, and nothing after the close frame. */
function checkWellFormed(output: Buffer): void {
  let type = 0;
  let isOpen = false;
  let isClosed = false;
  for (let at = 0; at < output.length; ) {
    const rest = output.subarray(at);
    if (rest.subarray(0, 4).equals(Buffer.from('AMQP'))) {
      type = rest[4] === 3 ? 1 : 0;
      at += 8;
      continue;
    }
    const length = rest.readUInt32BE(0);
    check(length >= 8 && length <= rest.length, 'the hub sent data that is not a frame');
    const performative = readPerformative(rest.subarray(0, length), type);
    at += length;
    if (performative === undefined || type === 1) continue;
    check(!isClosed, 'the hub sent a frame after its close');
    check(isOpen || performative.code === PERFORMATIVES.open, 'the hub sent a frame before its open');
    isOpen = true;
    isClosed = performative.code === PERFORMATIVES.close;
  }
}

/** Runs `work` and fails if anything is printed: it could contain a client's input. @throws Error */
async function silently(work: () => Promise<void>): Promise<void> {
  const printed: unknown[] = [];
  const { error, warn, log, trace } = console;
  const note = (...args: unknown[]): void => {
    printed.push(args);
  };
  Object.assign(console, { error: note, warn: note, log: note, trace: note });
  try {
    await work();
  } finally {
    Object.assign(console, { error, warn, log, trace });
  }
  check(printed.length === 0, `something was printed: ${JSON.stringify(printed)}`);
}

/**
 * Runs `runs` devices.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzAmqp(seed: number, runs: number): Promise<FuzzCounts> {
  const material = await gather();
  const random = new Prng(seed);
  const counts: FuzzCounts = {};
  for (let run = 0; run < runs; run++) {
    try {
      await silently(() => runCase(random.fork(), material, counts));
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
  process.stdout.write(`${JSON.stringify(await fuzzAmqp(seed, runs), null, 2)}\n`);
}
