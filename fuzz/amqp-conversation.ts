import { readdirSync, readFileSync } from 'node:fs';
import { amqpFrame, amqpFrames, amqpHeader, amqpRawFrame, amqpValue } from '@culvert/testkit';
import type { Prng } from './prng.ts';

const { attach, begin, close, detach, disposition, end, flow, message, open, putToken, saslInit, transfer } =
  amqpFrames;
const { array, described, list, map, null: none, string, uint } = amqpValue;

const CORPUS = new URL('corpus/amqp/', import.meta.url);

/** Conversations of real clients, device to hub, as hexadecimal. */
export function readAmqpCorpus(): Buffer[] {
  return readdirSync(CORPUS)
    .filter((name) => name.endsWith('.hex'))
    .sort()
    .map((name) => Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replaceAll(/\s/g, ''), 'hex'));
}

/** The bytes a device sends, and how it answers an offer afterwards. */
export interface Conversation {
  readonly bytes: Buffer;
  /** The frame that answers the request of this correlation id; undefined when the conversation opened no link for it. */
  answer(correlationId: Buffer, accepted: boolean): Buffer | undefined;
}

const NODES = ['streams', 'messages/events', 'messages/devicebound', 'twin', 'methods/devicebound', 'files'];

const SERVICE_NODES = ['/messages/deviceBound', '/messages/serviceBound/feedback', '/messages/serviceBound/files'];

const TOKEN_TYPES = [
  'servicebus.windows.net:sastoken',
  'azure-devices.net:sastoken',
  'azure-devices.net:sastoken',
  'jwt',
];

const PLAIN = ['\0d1@sas.hub.example\0token', '\0device@sas.root.hub.example\0token', '\0\0'];

/** A mostly valid conversation of a device. */
class Device {
  readonly #random: Prng;
  readonly #output: Buffer[] = [];
  #handles = 0;
  #deliveries = 0;
  #answers: number | undefined;

  constructor(random: Prng) {
    this.#random = random;
  }

  converse(): Conversation {
    this.#exchangeHeaders();
    const random = this.#random;
    this.#write(open(), begin());
    // A device that sends nothing more waits for the hub's timeout.
    if (random.chance(0.05)) return this.#conversation();
    if (random.chance(0.25)) this.#actAsService();
    else if (random.chance(0.8)) this.#putToken('d1');
    if (random.chance(0.9)) this.#attachStreams('d1');
    for (let count = random.integer(0, 6); count > 0; count--) this.#act();
    return this.#conversation();
  }

  #conversation(): Conversation {
    return { bytes: Buffer.concat(this.#output), answer: (id, accepted) => this.#answer(id, accepted) };
  }

  #write(...frames: Buffer[]): void {
    this.#output.push(...frames);
  }

  #exchangeHeaders(): void {
    const random = this.#random;
    if (random.chance(0.7)) {
      const mechanism = random.pick(['MSSBCBS', 'ANONYMOUS', 'PLAIN', 'PLAIN', 'EXTERNAL']);
      this.#write(amqpHeader(3), saslInit(mechanism, Buffer.from(mechanism === 'PLAIN' ? random.pick(PLAIN) : '')));
    }
    this.#write(amqpHeader(0));
  }

  #attach(role: 'sends' | 'receives', address: string): number {
    const handle = this.#handles++;
    this.#write(attach(handle, role, address, { name: this.#random.chance(0.99) ? `l${handle}` : 'l0' }));
    if (role === 'receives' && this.#random.chance(0.9)) this.#write(flow(handle, this.#random.pick([1, 10, 10_000])));
    return handle;
  }

  #send(handle: number, content: Buffer): void {
    const id = this.#deliveries++;
    if (content.length < 2 || this.#random.chance(0.7)) this.#write(transfer(handle, id, content));
    else {
      const cut = this.#random.integer(1, content.length - 1);
      this.#write(
        transfer(handle, id, content.subarray(0, cut), { more: true }),
        transfer(handle, id, content.subarray(cut)),
      );
    }
  }

  #putToken(deviceId: string): void {
    this.#put(`hub.example/devices/${deviceId}`);
  }

  #put(name: string): void {
    this.#attach('receives', '$cbs');
    this.#send(this.#attach('sends', '$cbs'), putToken(name, this.#random.pick(TOKEN_TYPES)));
  }

  /** Sends what a service client sends when it opens, then up to three messages for a device. */
  #actAsService(): void {
    const random = this.#random;
    this.#put(random.pick(['amqps://hub.example:5671/', 'hub.example', 'amqps://hub.example:5671']));
    const messages = this.#attach('sends', 'amqps://hub.example:5671/messages/deviceBound');
    this.#attach('receives', 'amqps://hub.example:5671/messages/serviceBound/feedback');
    for (let count = random.integer(0, 3); count > 0; count--) this.#send(messages, this.#message());
  }

  #attachStreams(deviceId: string): void {
    this.#attach('receives', `amqps://hub.example/devices/${deviceId}/streams`);
    this.#answers = this.#attach('sends', `/devices/${deviceId}/streams`);
  }

  /** One random action of a device. */
  #act(): void {
    const random = this.#random;
    const device = random.pick(['d1', 'd1', 'd2', 'd1/modules/m']);
    random.pick([
      () => this.#attach(random.pick(['sends', 'receives']), `/devices/${device}/${random.pick(NODES)}`),
      () => this.#send(this.#attach('sends', `/devices/d1/${random.pick(NODES)}`), this.#message()),
      () => this.#putToken(device),
      () => this.#actAsService(),
      () => this.#attach(random.pick(['sends', 'receives']), random.pick(SERVICE_NODES)),
      () => this.#attachStreams('d1'),
      () => this.#write(detach(random.integer(0, this.#handles))),
      () => this.#write(flow(random.integer(0, Math.max(0, this.#handles - 1)), random.integer(0, 100))),
      () => this.#write(disposition(random.pick(['sender', 'sender', 'receiver']), 0, random.integer(0, 3))),
      () => this.#write(begin(this.#handles), random.chance(0.8) ? end(this.#handles) : end(0)),
      () => this.#write(amqpRawFrame(Buffer.alloc(0))),
      () => this.#write(random.chance(0.2) ? close() : amqpRawFrame(Buffer.alloc(0))),
      () => this.#write(random.chance(0.3) ? strange(random) : amqpRawFrame(Buffer.alloc(0))),
    ])();
  }

  #message(): Buffer {
    const random = this.#random;
    return random.pick([
      () => message(random.text(random.integer(0, 3_000))),
      () => described(0x77, anyValue(random, 4)),
      () =>
        Buffer.concat([
          described(0x74, map(string('a'), anyValue(random, 2))),
          described(0x75, amqpValue.binary(random.bytes(9))),
        ]),
      () => random.bytes(random.integer(1, 40)),
    ])();
  }

  #answer(correlationId: Buffer, accepted: boolean): Buffer | undefined {
    if (this.#answers === undefined) return undefined;
    const uuid = Buffer.concat([Buffer.of(0x98), correlationId]);
    const properties = described(0x73, list(none, none, none, none, none, uuid));
    const isAccepted = accepted ? amqpValue.true : amqpValue.false;
    const application = described(0x74, map(string('IoThub-streaming-is-accepted'), isAccepted));
    return transfer(this.#answers, this.#deliveries++, Buffer.concat([properties, application, message('')]));
  }
}

function anyValue(random: Prng, depth: number): Buffer {
  if (depth === 0)
    return random.pick([none, uint(7), string('x'), amqpValue.symbol('y'), Buffer.of(random.integer(0, 255))]);
  const inner = () => anyValue(random, depth - 1);
  return random.pick([
    () => list(inner(), inner()),
    () => map(string('k'), inner()),
    () => described(random.integer(0, 255), inner()),
    () =>
      array(
        random.pick([0x40, 0x43, 0x50, 0xa1, 0xc0]),
        random.pick([0, 1, 0xffff_ffff]),
        random.bytes(random.integer(0, 6)),
      ),
    inner,
  ])();
}

/** A performative of any code with any fields. */
function strange(random: Prng): Buffer {
  const fields = Array.from({ length: random.integer(0, 14) }, () => anyValue(random, random.integer(0, 2)));
  return amqpFrame(random.integer(0x0f, 0x19), fields, { channel: random.pick([0, 0, 1, 65_535]) });
}

function mutated(random: Prng, bytes: Buffer): Buffer {
  let result = bytes;
  for (let count = random.integer(1, 4); count > 0; count--) {
    const at = random.integer(0, result.length);
    const other = random.integer(0, result.length);
    const put = random.pick<() => Uint8Array>([
      () => new Uint8Array(0),
      () => random.bytes(random.integer(1, 4)),
      () => Buffer.from([0xff, 0xff, 0xff, 0xff]),
      () => result.subarray(at, Math.min(result.length, at + 40)),
    ])();
    // Usually replaces as many bytes as it inserts, so that the following frames are still parsed as frames.
    const until = random.chance(0.7) ? at + put.length : random.chance(0.5) ? at : other;
    result = Buffer.concat([result.subarray(0, at), put, result.subarray(Math.max(until, at))]);
  }
  return result;
}

/** The input of one device: a valid conversation, a recorded one, a mutation of either, or noise. */
export function anyConversation(random: Prng, corpus: readonly Buffer[]): Conversation {
  const sane = new Device(random).converse();
  const bytes = random.chance(0.2) ? random.pick(corpus) : sane.bytes;
  if (random.chance(0.05)) return { ...sane, bytes: random.bytes(random.integer(1, 300)) };
  return { ...sane, bytes: random.chance(0.6) ? bytes : mutated(random, bytes) };
}
