import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CulvertError } from '../errors.ts';
import { encodePacket, type MqttPacket, type MqttVersion, PacketReader } from './codec.ts';

const CONNECT: MqttPacket = {
  cmd: 'connect',
  protocolId: 'MQTT',
  clientId: 'd1',
  clean: true,
  keepalive: 60,
  username: 'hub/d1/?api-version=2020-09-30',
  password: Buffer.from('secret'),
};

const text = fc.string({ minLength: 1, maxLength: 40 });
const messageId = fc.integer({ min: 1, max: 65_535 });

/** Packets that a device may send after CONNECT. */
const packets: fc.Arbitrary<MqttPacket> = fc.oneof(
  fc.constant<MqttPacket>({ cmd: 'pingreq' }),
  fc.record<MqttPacket & { cmd: 'publish' }>({
    cmd: fc.constant('publish'),
    topic: text,
    payload: fc.uint8Array({ maxLength: 3_000 }).map((bytes) => Buffer.from(bytes)),
    qos: fc.constantFrom(0, 1),
    dup: fc.boolean(),
    retain: fc.boolean(),
    messageId,
  }),
  fc.record<MqttPacket & { cmd: 'subscribe' }>({
    cmd: fc.constant('subscribe'),
    messageId,
    subscriptions: fc.array(fc.record({ topic: text, qos: fc.constantFrom(0 as const, 1 as const, 2 as const) }), {
      minLength: 1,
      maxLength: 5,
    }),
  }),
  fc.record<MqttPacket & { cmd: 'unsubscribe' }>({
    cmd: fc.constant('unsubscribe'),
    messageId,
    unsubscriptions: fc.array(text, { minLength: 1, maxLength: 5 }),
  }),
);

/** Cuts `bytes` at the given offsets, each modulo its length plus one. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const ends = [...at, bytes.length];
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

/** All results of reading `chunks`: the packets, then the error code if there was an error. */
function readAll(chunks: readonly Buffer[], maxPacketBytes = 262_144): unknown[] {
  const reader = new PacketReader(maxPacketBytes);
  const seen: unknown[] = [];
  try {
    for (const chunk of chunks) for (const packet of reader.push(chunk)) seen.push({ ...packet });
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    seen.push(error.code);
  }
  return seen;
}

describe('PacketReader', () => {
  it('gives the same packets however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<MqttVersion>(4, 5),
        fc.array(packets, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (version, sent, places) => {
          const all: MqttPacket[] = [{ ...CONNECT, protocolVersion: version } as MqttPacket, ...sent];
          const bytes = Buffer.concat(all.map((packet) => encodePacket(packet, version)));
          const whole = readAll([bytes]);
          expect(whole.map((packet) => (packet as MqttPacket).cmd)).toEqual(all.map((packet) => packet.cmd));
          expect(readAll(cut(bytes, places))).toEqual(whole);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('makes the same of broken bytes however they are cut, and only throws its own errors', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<MqttVersion>(4, 5),
        fc.array(packets, { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (version, sent, damage, places) => {
          const all: MqttPacket[] = [{ ...CONNECT, protocolVersion: version } as MqttPacket, ...sent];
          const bytes = Buffer.concat(all.map((packet) => encodePacket(packet, version)));
          for (const [place, byte] of damage) bytes[place % bytes.length] = byte;
          expect(readAll(cut(bytes, places), 8_192)).toEqual(readAll([bytes], 8_192));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('gives the packets before a malformed one', () => {
    const connect = encodePacket({ ...CONNECT, protocolVersion: 4 } as MqttPacket, 4);
    const subscribeWithWrongFlags = Buffer.from([0x80, 0x02, 0x00, 0x01]);
    const seen = readAll([Buffer.concat([connect, Buffer.from([0xc0, 0x00]), subscribeWithWrongFlags])]);
    expect(seen).toMatchObject([{ cmd: 'connect' }, { cmd: 'pingreq' }, 'protocol_error']);
  });

  it('refuses a first packet that is no CONNECT', () => {
    expect(readAll([Buffer.from([0xc0, 0x00])])).toEqual(['protocol_error']);
    expect(readAll([Buffer.from('GET / HTTP/1.1\r\n\r\n'.padEnd(80, ' '))])).toEqual(['protocol_error']);
  });

  it.each([
    [3, 'MQIsdp'],
    [3, 'MQTT'],
    [6, 'MQTT'],
    [0, 'MQTT'],
    [0x84, 'MQTT'],
  ])('refuses protocol level %i of %s and tells which it was', (level, name) => {
    const head = Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([level, 2, 0, 60, 0, 0]),
    ]);
    const reader = new PacketReader(1_000);
    const packet = Buffer.concat([Buffer.from([0x10, head.length]), head]);
    expect(() => [...reader.push(packet)]).toThrow(expect.objectContaining({ code: 'protocol_unsupported' }));
    expect(reader.level).toBe(level);
  });

  it('holds what has arrived of a packet, not what its header declares', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 64 }, () => new PacketReader(262_144));
    for (const reader of readers) {
      expect([...reader.push(Buffer.from([0x10, 0xf0, 0xff, 0x0f]))]).toEqual([]);
      for (let i = 0; i < 100; i++) expect([...reader.push(Buffer.from([0]))]).toEqual([]);
    }
    // Buffers of the declared sizes would take 16 MiB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4_194_304);
  });
});
