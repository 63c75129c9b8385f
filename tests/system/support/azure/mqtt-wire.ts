/** One MQTT 3.1.1 packet as received: type, flags and the bytes after the fixed header. */
export interface WirePacket {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** Packet types of MQTT 3.1.1, §2.2.1. */
export const TYPE = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  disconnect: 14,
} as const;

/** Encodes a packet from its parts, with the remaining length in the fixed header. */
export function wirePacket(type: number, flags: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([(type << 4) | flags, ...length]), body]);
}

export function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** Encodes a string with its length prefix, §1.5.3. */
export function wireString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint16(bytes.length), bytes]);
}

/** Encodes a CONNECT with user name and password and without a will. `keepAlive` is in seconds. */
export function connectPacket(of: {
  clientId: string;
  username: string;
  password: string;
  cleanSession: boolean;
  keepAlive: number;
}): Buffer {
  const flags = 0xc0 | (of.cleanSession ? 0x02 : 0);
  const head = Buffer.concat([wireString('MQTT'), Buffer.from([4, flags]), uint16(of.keepAlive)]);
  return wirePacket(TYPE.connect, 0, head, ...[of.clientId, of.username, of.password].map(wireString));
}

export function subscribePacket(id: number, filters: readonly string[], qos: 0 | 1): Buffer {
  const entries = filters.flatMap((filter) => [wireString(filter), Buffer.from([qos])]);
  return wirePacket(TYPE.subscribe, 2, uint16(id), ...entries);
}

export function unsubscribePacket(id: number, filters: readonly string[]): Buffer {
  return wirePacket(TYPE.unsubscribe, 2, uint16(id), ...filters.map(wireString));
}

/** Encodes a PUBLISH without payload; with an `id` the packet has QoS 1. */
export function publishPacket(topic: string, id?: number): Buffer {
  return wirePacket(
    TYPE.publish,
    id === undefined ? 0 : 2,
    wireString(topic),
    id === undefined ? Buffer.alloc(0) : uint16(id),
  );
}

/** Returns the topic and, for QoS 1, the packet id of a PUBLISH. */
export function readPublish({ flags, body }: WirePacket): { topic: string; id: number | undefined } {
  const end = 2 + body.readUInt16BE(0);
  const id = (flags & 0x06) === 0 ? undefined : body.readUInt16BE(end);
  return { topic: body.toString('utf8', 2, end), id };
}

/** Splits a connection's bytes into packets. */
export class WireReader {
  #input: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): WirePacket[] {
    this.#input = Buffer.concat([this.#input, chunk]);
    const packets: WirePacket[] = [];
    for (let packet = this.#take(); packet !== undefined; packet = this.#take()) packets.push(packet);
    return packets;
  }

  #take(): WirePacket | undefined {
    const input = this.#input;
    let length = 0;
    let at = 1;
    for (let shift = 0; ; shift += 7) {
      const byte = input[at++];
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    if (input.length < at + length) return undefined;
    this.#input = input.subarray(at + length);
    const first = input.readUInt8(0);
    return { type: first >> 4, flags: first & 0x0f, body: input.subarray(at, at + length) };
  }
}
